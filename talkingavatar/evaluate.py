"""Measure fitted runs: python -m talkingavatar.evaluate run=runs/me"""

import os
import sys
from typing import TYPE_CHECKING

from talkingavatar.paths import user_path, user_paths

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see fit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from talkingavatar.config.external import External
    from talkingavatar.engine.measuring.evaluate import EvaluateConfig, Evaluated

KEYS = (
    "run", "protocol", "condition", "frames", "lpips", "weights", "syncnet", "landmarks", "views", "expressions",
    "also", "out", "fresh", "progress", "video", "label", "seed", "fps",
)  # fmt: skip
HELP = """Measure fitted runs on the frames they never saw, all by one suite; several runs make a table.

  python -m talkingavatar.evaluate run=runs/me
  python -m talkingavatar.evaluate run=runs/full,runs/wo_saam,runs/wo_leb protocol=table4,table6
  python -m talkingavatar.evaluate run=runs/me condition=silent,aligned lpips=alex,squeeze

  python -m talkingavatar.evaluate video=theirs.mp4 label=TalkingGaussian data.path=captures/me protocol=table4

  run        run directories of fit, with commas between
  video      a capture's held-out part as others rendered it: a video, a folder of pictures, or several as a YAML list
             of {{video: ..., label: ...}}. Brought in line in time and size, scored as a run. With it go label
             (of its row), seed, fps (of pictures), data.path=<capture> (or data=speaker ...) and body=, as of a fit
  protocol   tables to fill: {protocols} (overview)
  condition  measured as well: {conditions}
  frames     held-out frames from the start (0: all)
  lpips      backbones: alex, vgg, squeeze (alex)
  weights    folder of their files (else $TALKINGAVATAR_WEIGHTS and torch hub's cache)
  syncnet    file or folder of SyncNet's weights (else the same folder and the cache); experiment=syncnet trains some
  landmarks  mediapipe, none (mediapipe: in an environment of its own, made on first use)
  views      held-out cameras of the capture, by name (all; of the embedded speaker 30,60: degrees from the front); none
  expressions  faces that nobody filmed, of conf/evaluate/expression/; all, none (none; protocol=expressions: all)
  also       {asked}: what takes its time (those that the protocols' columns show); none
  out        folder of the tables (the run's own `evaluation`; for several runs a new folder beside them)
  fresh      true: measure again what was measured
  progress   false: no progress bar

Each run keeps `evaluation/<condition>.json`: numbers, definitions, checksums, capture, split, commit, device. Stopped
and started again, it continues. Exit codes: 0, 2 a mistake in what was given, 75 stopped by a signal.
The last line names the folder of tables.md, tables.csv, tables.json and the sync curves."""


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    from talkingavatar.runtime.command import ended

    return ended(lambda: _evaluate(arguments))


def _evaluate(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        from talkingavatar.config.protocol import ASKED, names

        print(
            HELP.format(
                protocols=", ".join(names("protocol")), conditions=", ".join(names("condition")), asked=", ".join(ASKED)
            )
        )
        return 0
    config = parse(arguments)
    _check_claims(config)
    from talkingavatar.runtime.signals import Preempted, stop_flag

    with stop_flag() as flag:
        from talkingavatar.engine.measuring.evaluate import evaluate

        try:
            done = evaluate(config, flag.check)
        except Preempted:
            print("stopped; start the same command again to continue")
            return 75
    for file in [*_write_tables(config, done), *done.pictures]:
        print(f"wrote: {file}")
    print(f"evaluation: {done.out}")
    return 0


def _check_claims(config: "EvaluateConfig") -> None:
    """
    Raises:
        UserError: a paper's file claims something of rows or metrics that are not there; before hours of measuring.
    """
    from talkingavatar.config.protocol import read_protocol
    from talkingavatar.tables.verdicts import check_claims

    for name in config.protocols:
        check_claims(name, read_protocol(name))


def _write_tables(config: "EvaluateConfig", done: "Evaluated") -> "list[Path]":
    """Fill the protocols' tables, show them and write them down."""
    import json
    from dataclasses import replace

    from talkingavatar.config.protocol import read_protocol
    from talkingavatar.runtime.files import write_atomically
    from talkingavatar.tables.formats import to_csv, to_json, to_markdown
    from talkingavatar.tables.table import build_table, with_mean
    from talkingavatar.tables.verdicts import verdicts

    tables = []
    for name in config.protocols:
        protocol = read_protocol(name)
        table = with_mean(build_table(name, protocol, done.results))
        tables.append(replace(table, verdicts=verdicts(name, protocol, done.results)))
    text = "\n".join(to_markdown(table) for table in tables)
    print(text)
    written = {
        "tables.md": text,
        "tables.csv": to_csv(tables),
        "tables.json": to_json(tables),
        "results.json": json.dumps(done.results, indent=1),
    }
    for name, content in written.items():
        write_atomically(done.out / name, content)
    return [done.out / name for name in written]


def parse(arguments: list[str]) -> "EvaluateConfig":
    """
    Raises:
        UserError: an unknown key or value, or no run.
    """

    from talkingavatar.config.arguments import boolean, choice, key_values, whole_number
    from talkingavatar.config.external import is_section
    from talkingavatar.config.protocol import names
    from talkingavatar.engine.measuring.evaluate import EvaluateConfig
    from talkingavatar.errors import UserError

    sections = [text for text in arguments if is_section(text)]
    given = key_values([text for text in arguments if text not in sections], KEYS)
    if not given.get("run", "").strip(",") and "video" not in given:
        raise UserError("run", "nothing", "run directories", "give run=<dir>[,<dir>...]")
    lists = {key: tuple(part for part in given.get(key, "").split(",") if part) for key in KEYS}
    for key in ("protocol", "condition"):
        for name in lists[key]:
            choice(key, name, names(key))
    return EvaluateConfig(
        runs=tuple(user_paths(given.get("run", ""))),
        videos=tuple(_videos(given, sections)),
        protocols=lists["protocol"] or ("overview",),
        conditions=lists["condition"],
        frames=whole_number("frames", given.get("frames", "0")),
        lpips=tuple(choice("lpips", name, ("alex", "vgg", "squeeze")) for name in lists["lpips"]) or ("alex",),
        weights=given.get("weights"),
        syncnet=given.get("syncnet"),
        landmarks=choice("landmarks", given.get("landmarks", "mediapipe"), ("mediapipe", "none")),
        views=() if given.get("views") == "none" else lists["views"] or None,
        expressions=_expressions(given.get("expressions"), lists),
        also=_also(given.get("also"), lists),
        out=user_path(given["out"]) if "out" in given else None,
        fresh=boolean("fresh", given.get("fresh", "false")),
        progress=boolean("progress", given.get("progress", "true")),
    )


def _videos(given: dict[str, str], sections: list[str]) -> "list[External]":
    """What others rendered.

    Raises:
        UserError: something is said of a video, and none is given.
    """
    from talkingavatar.config.external import KEYS, externals
    from talkingavatar.errors import UserError

    own = {key: given[key] for key in KEYS if key in given}
    if "video" in own:
        return externals(own, sections)
    if told := [*own, *sections]:
        raise UserError(told[0].partition("=")[0], "no video", "a video that it is said of", "give video=<file>")
    return []


def _expressions(given: str | None, lists: "Mapping[str, tuple[str, ...]]") -> tuple[str, ...] | None:
    """Which of the faces that nobody filmed; None for all.

    Raises:
        UserError: there is no such face.
    """
    from talkingavatar.config.expressions import read_expressions
    from talkingavatar.config.protocol import read_protocol

    if given is None:
        columns = [column for name in lists["protocol"] for column in read_protocol(name).columns]
        return None if any("expressions" in column.key for column in columns) else ()
    if given in ("none", "all"):
        return () if given == "none" else None
    read_expressions(lists["expressions"])
    return lists["expressions"]


def _also(given: str | None, lists: "Mapping[str, tuple[str, ...]]") -> frozenset[str]:
    """What is measured where it is asked for.

    Raises:
        UserError: there is nothing of that name.
    """
    from talkingavatar.config.arguments import choice
    from talkingavatar.config.protocol import ASKED, read_protocol

    if given is None:
        return frozenset().union(*(read_protocol(name).asked for name in lists["protocol"]))
    return frozenset() if given == "none" else frozenset(choice("also", name, ASKED) for name in lists["also"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
