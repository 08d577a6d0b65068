"""Review fitted runs without a server: python -m talkingavatar.report sweep=runs"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from talkingavatar.paths import user_path, user_paths

if TYPE_CHECKING:
    from talkingavatar.launch.state import JobState
    from talkingavatar.tables.page import Content
    from talkingavatar.tables.results import Measured
    from talkingavatar.tables.runs import Run
    from talkingavatar.tables.table import Table

KEYS = ("run", "sweep", "protocol", "out", "title", "embed", "dashboard", "publish")
SUFFIXES = (".md", ".tex", ".csv")  # beside the page
WARNINGS = 5  # in the terminal
HELP = """One page to review runs by: tables beside the papers' own figures, curves, videos side by side, pictures.

  python -m talkingavatar.report run=runs/full,runs/wo_saam
  python -m talkingavatar.report sweep=runs protocol=table6,overview out=page.html

  run        run directories of fit, with commas between
  sweep      a folder of run directories
  protocol   tables to fill: {protocols} (those of which these runs fill two rows, and overview)
  out        the page (report.html in the sweep's folder, in the one run's, or a new one beside several runs)
  title      of the page
  embed      megabytes of pictures and videos inside the page (64); more are linked
  dashboard  true: write a W&B workspace and report of these runs down as well (<page>.wandb.json)
  publish    entity/project: and save them on W&B's server (needs `wandb login`); again: over what was published there

Runs may be under way, broken or not yet evaluated: cells without a number say why. Beneath a table stands what its
paper claims (`claims` of its paper.json), and whether it holds, fails, or cannot be told, with figures and reason.
Beside the page lie the same tables as Markdown, LaTeX (booktabs) and CSV. Exit codes: 0, 2 a mistake in what was given.
The last line names the page."""


@dataclass(frozen=True)
class ReportConfig:
    """What `report` is given."""

    runs: tuple[Path, ...]
    protocols: tuple[str, ...]  # empty: those that the runs fill
    out: Path
    title: str
    embed: int  # bytes
    submitted: "dict[Path, JobState]" = field(default_factory=dict)  # what a sweep's launcher knows of its runs
    dashboard: bool = False
    publish: str | None = None  # entity/project


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    from talkingavatar.runtime.command import ended

    return ended(lambda: _report(arguments))


def _report(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        from talkingavatar.config.protocol import names

        print(HELP.format(protocols=", ".join(names("protocol"))))
        return 0
    out = report(parse(arguments))
    for suffix in SUFFIXES:
        print(f"wrote: {out.with_suffix(suffix)}")
    print(f"report: {out}")
    return 0


def report(config: ReportConfig) -> Path:
    """Read the runs, write the page and the text files; the page's path.

    Raises:
        UserError: the page cannot be written.
    """
    from datetime import datetime

    from talkingavatar.errors import UserError
    from talkingavatar.runtime.disk import FULL
    from talkingavatar.runtime.files import write_atomically
    from talkingavatar.tables.formats import to_csv, to_markdown
    from talkingavatar.tables.latex import to_latex
    from talkingavatar.tables.page import to_html
    from talkingavatar.tables.results import read_results

    found = [read_results(_run(path, config.submitted.get(path))) for path in config.runs]
    _warn([f"{run.path}: {problem}" for run, _ in found for problem in run.problems])
    pairs = tables(config.protocols, found)
    flat = [table for pair in pairs for table in pair if table is not None]
    content = _content(config, found, pairs)
    try:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(config.out.with_suffix(".md"), "\n".join(map(to_markdown, flat)))
        write_atomically(config.out.with_suffix(".tex"), to_latex(flat))
        write_atomically(config.out.with_suffix(".csv"), to_csv(flat))
        write_atomically(config.out, to_html(content, datetime.now()))
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UserError(
            "out", f"{config.out}: {error.strerror}", "a file that can be written", "choose another"
        ) from error
    if config.dashboard:
        _dashboard(config, found, content)
    return config.out


def _warn(problems: list[str]) -> None:
    """What could not be read; the page shows all of it."""
    from talkingavatar.runtime.command import warn

    more = [f"{len(problems) - WARNINGS} more, on the page"] if len(problems) > WARNINGS else []
    for problem in [*problems[:WARNINGS], *more]:
        warn(problem)


def _dashboard(config: ReportConfig, found: "Sequence[tuple[Run, Measured]]", content: "Content") -> None:
    """Write W&B's workspace and report down, and publish them where it is asked for."""
    from talkingavatar.launch.sync import unsent
    from talkingavatar.tables.dashboard import dashboard
    from talkingavatar.tables.formats import to_markdown
    from talkingavatar.tables.publish import publish, write
    from talkingavatar.tables.runs import counts

    runs = [run for run, _ in found]
    curves = {key for shown in content.shown for key in shown.training}
    tables = [(table, to_markdown(table)) for pair in content.tables for table in pair if table is not None]
    facts = [f"{len(runs)} runs: {counts(runs)}", f"commits: {', '.join(dict.fromkeys(run.commit for run in runs))}"]
    board, file = dashboard(config.title, found, curves, tables, facts), config.out.with_suffix(".wandb.json")
    write(board, file)
    print(f"dashboard: {file}")
    if config.publish is not None:
        for address in publish(board, file, config.publish):
            print(f"published: {address}")
        if waiting := sum(bool(unsent(run.path)) for run in runs):
            where = runs[0].path.parent
            print(f"{waiting} runs hold what the server was not sent: python -m talkingavatar.sweep sync {where}")


def _run(path: Path, job: "JobState | None") -> "Run":
    """A run as it lies on disk, and as its launcher saw it end."""
    from talkingavatar.tables.runs import is_run, not_started, read_run

    failed = job is not None and job.state == "failed"
    if job is not None and not is_run(path):
        return not_started(path, "failed" if failed else "waiting", job.error, job.job.overrides)
    run = read_run(path)
    return replace(run, state="failed", detail=job.error) if job is not None and failed else run


def _submitted(folder: Path) -> "dict[Path, JobState]":
    """What the sweep's launcher knows, by run directory; nothing where the folder was not made by `sweep`."""
    from talkingavatar.launch.folder import SweepFolder
    from talkingavatar.launch.state import states
    from talkingavatar.runtime.command import warn
    from talkingavatar.runtime.readers import Unreadable

    sweep = SweepFolder(folder)
    if not sweep.record.is_file():
        return {}
    try:
        jobs = sweep.jobs()
    except Unreadable as error:
        warn(f"{sweep.record}: {error.found}; the runs on disk are shown")
        return {}
    return {folder / state.job.name: state for state in states(sweep, jobs, {})}


def tables(protocols: Sequence[str], found: "Sequence[tuple[Run, Measured]]") -> "list[tuple[Table, Table | None]]":
    """Each protocol's table, and the paper's own figures where they are known.

    Raises:
        UserError: there is no such protocol, or a paper claims something of rows or metrics that are not there.
    """
    from talkingavatar.config.protocol import names, read_protocol
    from talkingavatar.tables.paper import paper_file, read_paper
    from talkingavatar.tables.results import command_for, table_results, variants
    from talkingavatar.tables.table import build_table, with_mean
    from talkingavatar.tables.verdicts import verdicts

    pairs = []
    named = variants(run for run, _ in found)
    for name in protocols or ("overview", *(name for name in names("protocol") if name.startswith("table"))):
        protocol = read_protocol(name)
        results = table_results(protocol, found, named)
        table = build_table(name, protocol, results, every_row=True)
        filled = {line.label for line in table.lines if line.seeds and any(c.value is not None for c in line.cells)}
        if not protocols and name != "overview" and len(filled) < 2:
            continue
        if command := command_for(name, results):
            table = replace(table, notes=(command, *table.notes))
        file = paper_file(name)
        table = replace(with_mean(table), verdicts=verdicts(name, protocol, results))
        pairs.append((table, read_paper(file, name, protocol) if file else None))
    return pairs


def _content(
    config: ReportConfig, found: "Sequence[tuple[Run, Measured]]", pairs: "list[tuple[Table, Table | None]]"
) -> "Content":
    from talkingavatar.runtime.progress import ProgressBar
    from talkingavatar.tables import media
    from talkingavatar.tables.curves import Curve, sync_curves, training_curves
    from talkingavatar.tables.page import Content, Shown

    runs = [run for run, _ in found]
    most = max(30, min(200, 24_000 // len(runs)))  # points of a curve: a page that opens at once
    shown = []
    truth: dict[str, dict[str, Curve]] = {}
    for run, measured in found:
        sync = {condition: sync_curves(result) for condition, result in measured.items()}
        shown.append(Shown(run, training_curves(run.path / "metrics.jsonl", most), sync))
        for result in measured.values():
            truth.setdefault(run.subject, {}).update(sync_curves(result.get("truth", {})))
    with ProgressBar("pictures", media.count(runs), show=len(runs) > 20) as bar:
        gathered = media.collect(runs, config.out, config.embed, bar.advance)
    files = [config.out.with_suffix(suffix).name for suffix in SUFFIXES]
    return Content(config.title, pairs, shown, truth, gathered, files)


def parse(arguments: list[str]) -> ReportConfig:
    """
    Raises:
        UserError: an unknown key or value, or no run.
    """
    from talkingavatar.config.arguments import boolean, choice, key_values, whole_number
    from talkingavatar.config.protocol import names
    from talkingavatar.errors import UserError
    from talkingavatar.tables.publish import require_login
    from talkingavatar.tables.runs import find_runs

    given = key_values(arguments, KEYS)
    if ("run" in given) == ("sweep" in given):
        count = "both" if "run" in given else "nothing"
        raise UserError("run, sweep", count, "one of the two", "give run=<dir>[,<dir>...] or sweep=<folder>")
    protocols = tuple(part for part in given.get("protocol", "").split(",") if part)
    for name in protocols:
        choice("protocol", name, names("protocol"))
    if "sweep" in given:
        folder = user_path(given["sweep"])
        on_disk, submitted = find_runs(folder), _submitted(folder)
        runs, place, title = tuple(dict.fromkeys([*submitted, *on_disk])), folder, folder.absolute().name
        if not runs:
            raise UserError("sweep", f"{folder}: no run in it", "a folder of run directories", "fit something")
    else:
        submitted = {}
        if not (runs := tuple(user_paths(given["run"]))):
            raise UserError("run", repr(given["run"]), "run directories", "give run=<dir>[,<dir>...]")
        place, title = _named(runs)
    out = user_path(given["out"]) if "out" in given else place / "report.html"
    if out.suffix not in (".html", ".htm"):
        raise UserError("out", str(out), "a file that ends in .html", f"e.g. out={out / 'report.html'}")
    embed = whole_number("embed", given.get("embed", "64"), 0, 10**6) << 20
    publish = given.get("publish")
    if publish is not None:
        require_login(publish)
    board = boolean("dashboard", given.get("dashboard", "false")) or publish is not None
    return ReportConfig(runs, protocols, out, given.get("title", title), embed, submitted, board, publish)


def _named(runs: tuple[Path, ...]) -> tuple[Path, str]:
    """Where the page of these runs goes, and its title.

    Raises:
        UserError: one is no run directory, or of another schema.
    """
    import hashlib

    from talkingavatar.errors import UserError
    from talkingavatar.paths import runs_root
    from talkingavatar.tables.runs import is_run, refuse_another_schema

    for run in runs:
        if not is_run(run):
            found = "no such folder" if not run.is_dir() else "a folder without config.yaml"
            action = "give a run directory of fit (its last line says which), or sweep=<folder>"
            raise UserError("run", f"{run}: {found}", "the folder of a run", action)
        refuse_another_schema(run)
    if len(runs) == 1:
        return runs[0], runs[0].absolute().name
    digest = hashlib.sha256("\n".join(sorted(str(run.absolute()) for run in runs)).encode()).hexdigest()
    return runs_root() / f"report-{digest[:8]}", ", ".join(run.absolute().name for run in runs[:4])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
