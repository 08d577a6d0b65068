"""W&B, offline unless logged in. A trouble of the tracker's never ends a fit."""

from __future__ import annotations

import logging
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.run import RunDirectory, write_atomically

log = logging.getLogger(__name__)


class Tracker:
    """Scalars, media and the final table to W&B, or nowhere. The id survives requeues in the run directory."""

    def __init__(self, config: FitConfig, run: RunDirectory) -> None:
        self.wandb_run: Any = None
        if config.tracking.name == "wandb":
            self._guard(lambda: self._start(config, run))

    def log(self, step: int, scalars: dict[str, float]) -> None:
        if self.wandb_run is not None:
            self._guard(lambda: self.wandb_run.log({**scalars, "step": step}, step=step))

    def finish(self, step: int, media: list[Path], table: list[dict[str, Any]], metrics: dict[str, float]) -> None:
        """Log the results and close; `table` is the final table, a dict a row."""
        if self.wandb_run is not None:
            self._guard(lambda: self._finish(step, media, table, metrics))

    def close(self) -> None:
        """Close without results: the run goes on later."""
        if self.wandb_run is not None:
            self._guard(lambda: self.wandb_run.finish(exit_code=0))

    def _start(self, config: FitConfig, run: RunDirectory) -> None:
        import wandb

        file = run.path / "wandb_id"
        if not file.is_file():
            write_atomically(file, secrets.token_hex(4))
        tracking = config.tracking
        self.wandb_run = wandb.init(
            project=tracking.project,
            group=tracking.group,
            tags=tracking.tags,
            name=run.path.name,
            id=file.read_text(),
            resume="allow",
            dir=run.path,
            config=asdict(config),
            mode="online" if _logged_in() else "offline",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def _finish(self, step: int, media: list[Path], table: list[dict[str, Any]], metrics: dict[str, float]) -> None:
        import wandb

        def wrap(file: Path) -> Any:
            return wandb.Video(str(file)) if file.suffix == ".mp4" else wandb.Image(str(file))

        pictures = {f"media/{file.stem}": wrap(file) for file in media}
        rows = wandb.Table(columns=[*(table[0] if table else [])], data=[list(row.values()) for row in table])
        self.wandb_run.log({**pictures, "table": rows, "step": step}, step=step)
        self.wandb_run.summary.update(metrics)
        self.wandb_run.finish()

    def _guard(self, action: Any) -> None:
        try:
            action()
        except Exception as error:  # whatever the tracker's trouble, the fit goes on
            log.warning("tracking stopped: %s", error)
            self.wandb_run = None


def _logged_in() -> bool:
    """A key in the environment or in netrc; asks no server."""
    import netrc
    import os

    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
