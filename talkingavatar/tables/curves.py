"""Curves of a run, thinned: what was logged while it was fitted, and distance against shift of sound and lips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from talkingavatar.runtime.readers import is_number, journal_row

Curve = tuple[list[float], list[float]]  # x, y
WHOLE = 1 << 20  # bytes up to which every logged line is read; a longer file is read in places
LAST_BYTES = 1 << 14  # one logged line is shorter
HIDDEN = ("lr/",)  # of the schedule, not of the result
FIRST = ("loss/total", "preview/psnr", "loss/l1", "loss/dssim", "gaussians", "steps_per_s")
DIGITS = 5


def training_curves(file: Path, most: int) -> dict[str, Curve]:
    """Each logged number by step, at most about `most` points each. A line cut off by a kill, or not yet whole, is left
    out; without a file there are none."""
    try:
        lines = _lines(file, most)
    except OSError:
        return {}
    found: dict[str, Curve] = {}
    for line in lines:
        row = journal_row(line)
        for key, value in row.items():
            if key != "step" and is_number(value) and not key.startswith(HIDDEN):
                steps, values = found.setdefault(key, ([], []))
                steps.append(short(row["step"]))
                values.append(short(value))
    return {key: _thinned(curve, most) for key, curve in found.items()}


def _lines(file: Path, most: int) -> list[bytes]:
    """All lines of a short file; of a long one those at twice as many even places, and the last."""
    size = file.stat().st_size
    if size <= WHOLE:
        return file.read_bytes().splitlines()
    lines = []
    with file.open("rb") as stream:
        for place in range(2 * most):
            stream.seek(size * place // (2 * most))
            if place:
                stream.readline()  # the rest of a line
            lines.append(stream.readline())
        stream.seek(size - LAST_BYTES)
        lines += stream.read().splitlines()[-1:]
    return list(dict.fromkeys(lines))


def _thinned(curve: Curve, most: int) -> Curve:
    steps, values = curve
    if len(steps) <= most:
        return curve
    kept = [round(i * (len(steps) - 1) / (most - 1)) for i in range(most)]
    return [steps[i] for i in kept], [values[i] for i in kept]


def sync_curves(result: Mapping[str, Any]) -> dict[str, Curve]:
    """Of what `evaluate` measured, or of its ground truth: {kind: (shift in frames, distance or correlation)}."""
    found = {}
    curves = result.get("curves")
    for kind, curve in curves.items() if isinstance(curves, dict) else ():
        try:
            shifts, values = ([short(float(v)) for v in numbers] for numbers in curve)
        except (TypeError, ValueError, OverflowError):
            continue
        if shifts and len(shifts) == len(values) and all(map(math.isfinite, values)):
            found[kind] = (shifts, values)
    return found


def short(value: float) -> float:
    """As many digits as a picture can show."""
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def in_order(keys: set[str]) -> list[str]:
    """The names of curves, those most looked at first."""
    return sorted(keys, key=lambda key: (FIRST.index(key) if key in FIRST else len(FIRST), key))
