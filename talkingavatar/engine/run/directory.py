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
```
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from talkingavatar.config.compose import from_yaml, to_yaml
from talkingavatar.config.identity import differences, run_name
from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.run.provenance import dirty_patch, packages, provenance
from talkingavatar.errors import UserError
from talkingavatar.paths import runs_root, user_path
from talkingavatar.runtime.files import write_atomically


class RunDirectory:
    """One run on disk. The same configuration always opens the same directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.media = self.path / "media"

    def checkpoint(self, stage: str) -> Path:
        """The newest checkpoint of a stage."""
        return self.path / f"{stage}.ckpt"

    @staticmethod
    def open(config: FitConfig) -> RunDirectory:
        """Create or continue the run of a configuration.

        Raises:
            UserError: it cannot be written, or it holds a run of another configuration or schema.
        """
        run = RunDirectory(RunDirectory.path_of(config))
        if config.run.fresh and run.path.is_dir() and (run.path / "config.yaml").is_file():
            shutil.rmtree(run.path)
        try:
            run.media.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=run.path):
                pass
        except OSError as error:
            raise UserError(
                "run.path", f"{run.path}: {error.strerror}", "a folder that can be written",
                "give run.path=... or set $TALKINGAVATAR_RUNS",
            ) from error  # fmt: skip
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
        if not file.is_file():
            return
        if changed := differences(from_yaml(file), config):
            raise UserError(
                "run.path", f"a run with another {', '.join(changed)} in {self.path}", "a run of this configuration",
                "choose another folder, or start anew with run.fresh=true",
            )  # fmt: skip

    def _describe(self, config: FitConfig) -> None:
        write_atomically(self.path / "config.yaml", to_yaml(config))
        file = self.path / "provenance.json"
        starts = json.loads(file.read_text()) if file.is_file() else []
        write_atomically(file, json.dumps([*starts, provenance()], indent=1))
        write_atomically(self.path / "packages.txt", packages())
        if patch := dirty_patch():
            write_atomically(self.path / "changes.patch", patch)

    def status(self, state: str, **facts: Any) -> None:
        """Tell whoever watches: running, finished, preempted or failed."""
        content = {"state": state, "time": time.time(), "pid": os.getpid(), **facts}
        write_atomically(self.path / "status.json", json.dumps(content))

    def read_summary(self) -> dict[str, Any] | None:
        file = self.path / "summary.json"
        return json.loads(file.read_text()) if file.is_file() else None

    def write_summary(self, summary: dict[str, Any]) -> None:
        write_atomically(self.path / "summary.json", json.dumps(summary, indent=1))

    def truncate_metrics(self, step: int) -> None:
        """Forget logged steps that will be computed again."""
        file = self.path / "metrics.jsonl"
        if file.is_file():
            rows = [line for line in file.read_text().splitlines() if _step_of(line) <= step]
            write_atomically(file, "".join(row + "\n" for row in rows))

    def rows(self, start: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The logged rows from a byte on, and the byte after them; a line cut off by a kill is none."""
        file = self.path / "metrics.jsonl"
        if not file.is_file():
            return [], start
        with file.open("rb") as stream:
            stream.seek(start)
            lines = [line for line in stream if line.endswith(b"\n")]
        return [json.loads(line) for line in lines], start + sum(map(len, lines))

    def log(self, step: int, scalars: dict[str, float]) -> None:
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")


def _step_of(line: str) -> float:
    """Step of a logged line; a line cut off by a kill counts as never written."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")
