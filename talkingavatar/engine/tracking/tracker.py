"""W&B, offline unless logged in. A trouble of the tracker's never ends a fit.

The journal (`metrics.jsonl`) is what counts, and the tracker follows it: each start of a run that was stopped or killed
logs what W&B has not got yet, by what its files hold or its server says. So all folders of a run together, which
`wandb sync` appends to one another, hold each row of the journal once. A step computed again after a kill keeps the row
of its first time, offline as online.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.tracking.login import logged_in
from talkingavatar.engine.tracking.names import TABLE, media_key, result_key
from talkingavatar.engine.tracking.offline import tracked_rows
from talkingavatar.runtime.files import write_atomically

log = logging.getLogger(__name__)
PATIENCE = 600.0  # seconds that the end of a fit waits for W&B's server; what is left is kept for `wandb sync`


class Tracker:
    """Scalars, media and the final table to W&B, or nowhere. The id survives requeues in the run directory."""

    def __init__(self, config: FitConfig, run: RunDirectory) -> None:
        self.config, self.run = config, run
        self.wandb_run: Any = None
        self.read = 0  # bytes of the journal that were followed
        self.held: set[int] = set()  # steps that W&B's files in the run directory hold
        self.wanted = config.tracking.name == "wandb"
        if self.wanted:
            self._guard(self._start)

    def follow(self) -> None:
        """Log what the journal holds and W&B does not. Steps that are done again must be out of the journal."""
        if self.wandb_run is not None:
            self._guard(self._follow)

    def finish(self, step: int, media: list[Path], table: list[dict[str, Any]], metrics: dict[str, float]) -> None:
        """Log the results and close; `table` is the final table, a dict a row. What broke off is tried once more."""
        if self.wanted and self.wandb_run is None:
            self._guard(self._start_again)
        if self.wandb_run is not None:
            self._guard(lambda: self._finish(step, media, table, metrics))

    def summarise(self, metrics: Mapping[str, float]) -> None:
        """Add to the run's summary, and close."""
        if self.wandb_run is not None:
            self._guard(lambda: self._summarise(metrics))

    def close(self) -> None:
        """Close without results: the run goes on later."""
        if self.wandb_run is not None:
            self._guard(lambda: self.wandb_run.finish(exit_code=0))

    def _start(self) -> None:
        import wandb

        file = self.run.path / "wandb_id"
        if not file.is_file():
            write_atomically(file, secrets.token_hex(4))
        tracking, online = self.config.tracking, logged_in()
        self.held = set() if online else {int(row["_step"]) for row in tracked_rows(self.run.path)}
        self.wandb_run = wandb.init(
            project=tracking.project,
            group=tracking.group,
            tags=tracking.tags,
            name=self.run.path.name,
            id=file.read_text(),
            resume="allow",
            dir=self.run.path,
            config=asdict(self.config),
            mode="online" if online else "offline",
            settings=wandb.Settings(silent=True, console="off", finish_timeout=PATIENCE),
        )

    def _start_again(self) -> None:
        import wandb

        with suppress(Exception):  # of the process that broke off
            wandb.teardown()
        self.read = 0
        self._start()

    def _follow(self) -> None:
        rows, self.read = self.run.rows(self.read)
        for row in rows:
            step = row["step"]
            if step >= self.wandb_run.starting_step and step not in self.held:
                self.wandb_run.log(row, step=step)

    def _finish(self, step: int, media: list[Path], table: list[dict[str, Any]], metrics: dict[str, float]) -> None:
        import wandb

        def wrap(file: Path) -> Any:
            return wandb.Video(str(file)) if file.suffix == ".mp4" else wandb.Image(str(file))

        try:
            self._follow()
            self.wandb_run.summary.update(metrics)
            pictures = {media_key(file): wrap(file) for file in media}
            rows = wandb.Table(columns=[*(table[0] if table else [])], data=[list(row.values()) for row in table])
            self.wandb_run.log({**pictures, TABLE: rows, "step": step}, step=step)
        finally:
            self.wandb_run.finish()

    def _summarise(self, metrics: Mapping[str, float]) -> None:
        self._follow()
        self.wandb_run.summary.update(dict(metrics))
        self.wandb_run.finish()

    def _guard(self, action: Any) -> None:
        try:
            action()
        except Exception as error:  # whatever the tracker's trouble, the fit goes on
            log.warning("tracking stopped: %s", error)
            self.wandb_run = None


def track_results(config: FitConfig, run: RunDirectory, condition: str, metrics: Mapping[str, float]) -> None:
    """Add what was measured of a run after its fit to its summary in W&B, and what else W&B lacks of it.

    Nothing for a run that was never tracked.
    """
    if (run.path / "wandb_id").is_file():
        Tracker(config, run).summarise({result_key(condition, key): value for key, value in metrics.items()})
