"""Any number of channels to one that is as loud as a mono copy of the voice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

HEARD = 0.1  # RMS, of the loudest channel's, from which a channel counts
CANCELLED = 0.5  # RMS of the mix, of the loudest channel's, below which channels cancel each other
CENTRE, EFFECTS = "FC", "LFE"  # libav's names: where films have their speech, and what is no voice


def as_float(values: Shaped[ndarray, "*n"]) -> Float[ndarray, "*n"]:
    """Samples of any type, full scale at 1."""
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32) / float(1 << (8 * values.dtype.itemsize - 1))
    return values.astype(np.float32)


def to_mono(channels: Float[ndarray, "C N"]) -> Float[ndarray, " N"]:
    """The mix of channels without names."""
    power = channels.astype(np.float64)
    return (weights(power @ power.T, [""] * len(channels)) @ channels).astype(np.float32)


def weights(products: Float[ndarray, "C C"], names: Sequence[str]) -> Float[ndarray, " C"]:
    """Of the mix: a front centre that is heard, else the mean of the channels that are, else (they cancel) the loudest.

    Args:
        products: summed over all samples, of every channel with every other.
        names: of the channels, as libav's.
    """
    count = len(names)
    level = np.sqrt(np.maximum(np.diag(products), 0))
    alone = np.eye(count)
    if count == 1 or not level.max():
        return np.full(count, 1 / count)
    heard = level > HEARD * level.max()
    if count > 2 and CENTRE in names and heard[names.index(CENTRE)]:
        return alone[names.index(CENTRE)]
    voices = heard & (np.array(names) != EFFECTS)
    heard = voices if voices.any() else heard
    mean = heard / heard.sum()
    loudest = int(np.where(heard, level, 0).argmax())
    return mean if np.sqrt(max(mean @ products @ mean, 0)) >= CANCELLED * level[loudest] else alone[loudest]
