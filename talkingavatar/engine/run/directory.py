"""The run directory.

```
<run>/
  config.yaml        resolved configuration
  provenance.json    command, commit, device ... of every start (a list)
  changes.patch      uncommitted changes of the checkout, where there were any
  packages.txt       installed packages
  status.json        state, step, steps, time of the last change, error
  metrics.jsonl      one object a logged step
  summary.json       status, wall_s, steps_per_s, metrics, skipped; at the end
  wandb_id           id of the tracked run, kept over requeues
  <stage>.ckpt       the newest checkpoint of each stage: avatar.ckpt, driver.ckpt
  media/             pictures and videos
  .lock              who is at work in it (`runtime.lock`)
```
"""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from talkingavatar.config.compose import from_yaml, to_yaml
from talkingavatar.config.identity import differences, run_name
from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.run import contents
from talkingavatar.engine.run.provenance import dirty_patch, packages, provenance
from talkingavatar.errors import UserError
from talkingavatar.paths import runs_root, user_path
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.files import folder_for, write_atomically
from talkingavatar.runtime.lock import Lock
from talkingavatar.runtime.readers import Unreadable, healed, journal_row, read_json

ELSEWHERE = "give run.path=... or set $TALKINGAVATAR_RUNS"
NAMED = 6  # keys in a message
ANEW = "restore it, or start anew with run.fresh=true"


class RunDirectory:
    """One run on disk. The same configuration always opens the same directory."""

    def __init__(self, path: Path, lock: Lock | None = None) -> None:
        self.path, self.lock = path.absolute(), lock
        self.media = self.path / "media"

    def checkpoint(self, stage: str) -> Path:
        """The newest checkpoint of a stage."""
        return self.path / f"{stage}.ckpt"

    @staticmethod
    def open(config: FitConfig, lock: Lock | None = None) -> RunDirectory:
        """Create or continue the run of a configuration.

        Args:
            lock: by which this process holds the directory.

        Raises:
            UserError: it cannot be written, or it holds a run of another configuration or schema, or what is no run's.
        """
        run = RunDirectory(RunDirectory.path_of(config), lock)
        folder_for(run.path, "run.path", ELSEWHERE)
        if config.run.fresh:
            contents.empty(run.path, "run.path")
        elif names := contents.taken(run.path):
            found = f"{run.path}, no run directory, with {', '.join(names)}"
            raise UserError("run.path", found, "a run directory, or one to be made", "choose another folder")
        if names := contents.in_the_way(run.path):
            raise UserError("run.path", f"{run.path / names[0]}, a folder", "a file of the run", "move it away")
        folder_for(run.media, "run.path", ELSEWHERE)
        run._refuse_another(config)
        run._describe(config)
        return run

    @staticmethod
    def path_of(config: FitConfig) -> Path:
        """Where the run of a configuration lies."""
        given = config.run.path
        return (user_path(given) if given else runs_root() / run_name(config)).absolute()

    def _refuse_another(self, config: FitConfig) -> None:
        file = self.path / "config.yaml"
        if not file.is_file() and any(self.path.glob("*.ckpt")):
            raise UserError("run.path", f"checkpoints without config.yaml in {self.path}", "the run's own", ANEW)
        if not file.is_file():
            return
        if changed := differences(from_yaml(file), config):
            more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
            found = f"a run with another {', '.join(changed[:NAMED])}{more} in {self.path}"
            raise UserError(
                "run.path", found, "a run of this configuration",
                "choose another folder, or start anew with run.fresh=true",
            )  # fmt: skip

    def _describe(self, config: FitConfig) -> None:
        write_atomically(self.path / "config.yaml", to_yaml(config))
        file = self.path / "provenance.json"
        starts = healed(lambda: read_json(file, list, ANEW), [], warn)
        write_atomically(file, json.dumps([*starts, provenance()], indent=1))
        write_atomically(self.path / "packages.txt", packages())
        if patch := dirty_patch():
            write_atomically(self.path / "changes.patch", patch)

    def status(self, state: str, **facts: Any) -> None:
        """Tell whoever watches: running, finished, preempted or failed."""
        content = {"state": state, "time": time.time(), "pid": os.getpid(), **facts}
        write_atomically(self.path / "status.json", json.dumps(content))

    def ended(self, state: str, **facts: Any) -> None:
        """The status of a start that breaks off; on a disk without room the one before stands."""
        with suppress(OSError):
            self.status(state, **self.progress(), **facts)

    def progress(self) -> dict[str, int]:
        """`step` that is saved, and `steps` in all; nothing before the first."""
        with suppress(FileNotFoundError, Unreadable):
            status = read_json(self.path / "status.json", dict, ANEW)
            return {name: status[name] for name in ("step", "steps") if type(status.get(name)) is int}
        return {}

    def saved(self) -> str:
        """How far the run has come on disk, in words."""
        step = self.progress().get("step")
        return f"; {self.path} is saved up to step {step}" if step else ""

    def check_held(self) -> None:
        """
        Raises:
            UserError: another start took the directory over.
        """
        if self.lock is not None:
            self.lock.check()

    def read_summary(self) -> dict[str, Any] | None:
        """The run's results; None where there are none yet or, said in a line, where they are damaged."""
        file = self.path / "summary.json"
        return healed(lambda: _summary(read_json(file, dict, ANEW), file), None, warn)

    def write_summary(self, summary: dict[str, Any]) -> None:
        write_atomically(self.path / "summary.json", json.dumps(summary, indent=1))

    def truncate_metrics(self, step: int) -> None:
        """Forget logged steps that will be computed again."""
        file = self.path / "metrics.jsonl"
        if file.is_file():
            rows = [line for line in file.read_text(errors="replace").splitlines() if _step_of(line) <= step]
            write_atomically(file, "".join(row + "\n" for row in rows))

    def rows(self, start: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The logged rows from a byte on, and the byte after them; a damaged line is none."""
        file = self.path / "metrics.jsonl"
        if not file.is_file():
            return [], start
        with file.open("rb") as stream:
            stream.seek(start)
            lines = [line for line in stream if line.endswith(b"\n")]
        return [row for row in map(journal_row, lines) if row], start + sum(map(len, lines))

    def log(self, step: int, scalars: dict[str, float]) -> None:
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")


def _summary(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """
    Raises:
        Unreadable: it is not what `fit` writes.
    """
    kinds: dict[str, Any] = {"status": str, "wall_s": int | float}
    if content.get("status") == "finished":
        kinds |= {"experiment": str, "steps": int, "table": list, "metrics": dict, "skipped": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]
    if "table" in kinds and not wrong:
        numbers = all(isinstance(value, int | float) for value in content["metrics"].values())
        rows = content["table"] and all(isinstance(row, dict) for row in content["table"])
        wrong = ["metrics"] * (not numbers) + ["table"] * (not rows)
    if wrong:
        found = f"{wrong[0]}: {json.dumps(content.get(wrong[0]))[:60]}"
        raise Unreadable(str(file), found, "a summary as fit writes it", ANEW)
    return content


def _step_of(line: str) -> float:
    """Step of a logged line; a line cut off by a kill, or that is none, counts as never written."""
    return journal_row(line).get("step", math.inf)
