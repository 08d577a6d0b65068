"""What `evaluate` keeps of one run under one condition, read back: `evaluation/<condition>.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from talkingavatar.runtime.readers import Unreadable, read_json

EXPECTED, ANEW = "what evaluate writes", "measure the run again: evaluate run=... fresh=true"
TEXTS = ("condition", "subject", "experiment", "family")


def read_result(file: Path) -> dict[str, Any]:
    """Numbers, definitions and facts. A number may be NaN or infinite.

    Raises:
        Unreadable: the file is damaged, or a part of it is not what `evaluate` writes.
        FileNotFoundError: there is none.
    """
    result = read_json(file, dict, ANEW)
    wrong = [name for name in TEXTS if not isinstance(result.get(name), str)]
    wrong += [name for name in ("seed", "suite") if type(result.get(name)) is not int]
    wrong += [name for name in ("split", "backbones") if not isinstance(result.get(name), dict)]
    wrong += [name for name in ("frames",) if not isinstance(result.get(name), list)]
    wrong += _wrong(result)
    frames = result.get("frames")
    if isinstance(frames, list) and not _are_of_frames(result.get("per_frame", {}), len(frames)):
        wrong.append("per_frame")
    if "truth" in result:
        truth = result["truth"]
        wrong += [f"truth: {name}" for name in _wrong(truth)] if isinstance(truth, dict) else ["truth"]
    if not all(isinstance(backbone, dict) for backbone in (result.get("backbones") or {}).values()):
        wrong.append("backbones")
    if wrong:
        raise Unreadable(str(file), f"another {wrong[0]}", EXPECTED, ANEW)
    return result


def _wrong(found: dict[str, Any]) -> list[str]:
    """Which of the measured parts are none."""
    kinds = {"metrics": _is_measured, "skipped": lambda value: isinstance(value, str), "curves": _is_curve}
    parts = {name: found.get(name) for name in kinds}
    return [
        name
        for name, part in parts.items()
        if not isinstance(part, dict) or not all(kinds[name](value) for value in part.values())
    ]


def _are_of_frames(found: object, count: int) -> bool:
    """Lists of a value, or None, for each frame, by key."""
    lists = list(found.values()) if isinstance(found, dict) else [None]
    return all(
        isinstance(values, list) and len(values) == count and all(v is None or _is_measured(v) for v in values)
        for values in lists
    )


def _is_measured(value: object) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 63)


def _is_curve(value: object) -> bool:
    """Shifts in frames, and as many distances or correlations."""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(row, list) for row in value):
        return False
    return len(value[0]) == len(value[1]) and all(map(_is_measured, (*value[0], *value[1])))
