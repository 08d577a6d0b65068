"""Whether W&B's server may be spoken to, and what a run's numbers and pictures are called there. Imports no torch."""

from __future__ import annotations

from pathlib import Path

TABLE = "table"  # of the end of a fit


def media_key(file: Path) -> str:
    """Of a picture or video of the end of a fit."""
    return f"media/{file.stem}"


def result_key(condition: str, metric: str) -> str:
    """Of a number that `evaluate` measured."""
    return f"evaluate/{condition}/{metric}"


def logged_in() -> bool:
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
