"""How well lips follow the loudness of a sound."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.audio.loudness import correlation_and_offset, envelope
from talkingavatar.data.capture import RATE


@dataclass(frozen=True)
class LipSync:
    """Lip opening against the sound's loudness, over `frames` frames."""

    what: str
    frames: int
    r: float  # Pearson correlation of frames that belong together
    best_r: float
    offset: int  # frames by which the lips come after the sound where the correlation is highest
    mean_mm: float
    std_mm: float

    def row(self) -> dict[str, Any]:
        """For json: None where nothing varied and nothing could be correlated."""
        return {key: None if value != value else value for key, value in asdict(self).items()}


def lip_sync(what: str, opening: Float[ndarray, " T"], loudness: Float[ndarray, " T"], fps: float) -> LipSync:
    """Compare over all frames; offsets of up to 0.4 s are tried."""
    r, best, offset = correlation_and_offset(opening, loudness, round(0.4 * fps))
    return LipSync(what, len(opening), r, best, offset, float(opening.mean()) * 1e3, float(opening.std()) * 1e3)


def loudness_of(samples: Float[ndarray, " N"], fps: float, frames: int) -> Float[ndarray, " T"]:
    """Square root of the RMS round each frame (16 kHz): loudness grows slower than amplitude."""
    return np.sqrt(envelope(samples, RATE, fps, frames))
