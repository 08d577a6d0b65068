"""How far a clip's sound runs behind its lips.

A positive offset means that the sound is late: it has to be moved that much earlier. It is where the opening of the
mouth is best predicted from the sound (`audio.offset`).

Lips move a little before the sound they shape; how much depends on speaker and sounds (Chandrasekaran et al. 2009), so
the offset is good to about a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.audio.features import RATE
from talkingavatar.audio.offset import Watched, cepstra, peak_of, shot_numbers, silent
from talkingavatar.preprocessing.keypoints import INNER_LIPS, Keypoints

REACH = 0.6  # seconds tried to either side
LEAST = 3.0  # seconds of visible mouth that an offset may be told from
SURE = 7.0  # confidence from which an offset is believed; sound that does not belong to the lips reaches 6
EYE_CORNERS = (36, 45)


@dataclass(frozen=True)
class Offset:
    """`frames` is positive where the sound comes after the lips; None where it cannot be told."""

    frames: float | None
    correlation: float  # of the predicted with the seen opening, at the offset
    confidence: float  # the correlation in units of chance's, 1 / sqrt(frames seen)
    why: str = ""  # it cannot be told

    @property
    def sure(self) -> bool:
        """Whether it is worth correcting."""
        return self.frames is not None and self.confidence >= SURE


def mouth_opening(keypoints: Keypoints) -> Float[ndarray, " T"]:
    """Distance of the inner lips by that of the outer corners of the eyes; NaN where no face was seen."""
    face = keypoints.face68()[..., :2]

    def distance(a: int, b: int) -> Float[ndarray, " T"]:
        return np.linalg.norm(face[:, a] - face[:, b], axis=-1)

    return np.mean([distance(a, b) for a, b in INNER_LIPS], axis=0) / distance(*EYE_CORNERS)


def estimate_offset(
    opening: Float[ndarray, " T"], samples: Float[ndarray, " N"], fps: float, shots: list[tuple[int, int]]
) -> Offset:
    """The offset in frames; `opening` as `mouth_opening` gives it, `samples` at 16 kHz."""
    seen = np.isfinite(opening)
    if seen.sum() < LEAST * fps:
        return Offset(None, 0.0, 0.0, f"the mouth is seen for less than {LEAST:.0f} s")
    if np.ptp(opening[seen]) < 1e-6:
        return Offset(None, 0.0, 0.0, "the mouth does not move")
    sound = cepstra(samples, fps, len(opening))
    if silent(sound):
        return Offset(None, 0.0, 0.0, "there is no sound")
    curve = Watched(opening[:, None], seen, shot_numbers(shots)).curve(sound, round(REACH * fps))
    frames, peak = peak_of(curve)
    return Offset(round(frames, 1), round(peak, 3), round(peak * float(seen.sum()) ** 0.5, 1))


def shifted(samples: Float[ndarray, " N"], frames: float, fps: float) -> Float[ndarray, " N"]:
    """The sound moved `frames` frames earlier (later, if negative), silent where nothing is known."""
    by = round(frames / fps * RATE)
    moved = np.zeros_like(samples)
    kept = samples[max(by, 0) : len(samples) + min(by, 0)]
    moved[max(-by, 0) : max(-by, 0) + len(kept)] = kept
    return moved
