"""What a run's numbers and pictures are called at W&B. Imports no torch."""

from __future__ import annotations

from pathlib import Path

TABLE = "table"  # of the end of a fit


def media_key(file: Path) -> str:
    """Of a picture or video of the end of a fit."""
    return f"media/{file.stem}"


def result_key(condition: str, metric: str) -> str:
    """Of a number that `evaluate` measured."""
    return f"evaluate/{condition}/{metric}"
