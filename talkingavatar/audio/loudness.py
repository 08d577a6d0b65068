"""How loud a sound is on the video clock, and how far one signal runs behind another."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

SILENT = 1e-3  # RMS (-60 dB of full scale) below which a whole recording counts as silence


def envelope(samples: Float[ndarray, " N"], rate: int, fps: float | int, frames: int) -> Float[ndarray, " T"]:
    """RMS of each frame's surroundings, two frames long and centred on t / fps seconds; silent outside the sound."""
    power = np.concatenate([[0.0], np.cumsum(np.square(samples.astype(np.float64)))])
    centre = np.round(np.arange(frames) / fps * rate).astype(np.int64)
    half = max(1, round(rate / fps))
    low, high = (np.clip(centre + side, 0, len(samples)) for side in (-half, half))
    return np.sqrt((power[high] - power[low]) / (2 * half))


def loud_level(values: Float[ndarray, " T"]) -> float:
    """The RMS that speech reaches: the 95th percentile of an envelope."""
    return float(np.percentile(values, 95)) if len(values) else 0.0


def correlation_and_offset(
    signal: Float[ndarray, " T"], reference: Float[ndarray, " T"], limit: int
) -> tuple[float, float, int]:
    """Pearson correlation at offset 0, the highest one, and its offset in frames (positive: `signal` comes later).

    NaN and offset 0 where either does not vary.
    """
    at_zero, best, offset = float("nan"), float("nan"), 0
    for lag in sorted(range(-limit, limit + 1), key=abs):
        value = _correlation(signal[max(0, lag) :], reference[max(0, -lag) :])
        at_zero = value if lag == 0 else at_zero
        if not np.isnan(value) and not value <= best:
            best, offset = value, lag
    return at_zero, best, offset


def _correlation(a: Float[ndarray, " n"], b: Float[ndarray, " m"]) -> float:
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    if count < 3 or a.std() < 1e-9 or b.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
