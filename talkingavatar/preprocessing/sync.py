"""How far a clip's sound runs behind its lips.

A positive offset means that the sound is late: it has to be moved that much earlier. For every candidate the opening
of the mouth is predicted from the spectrum of the sound at that distance (ridge regression, each tenth of the clip
predicted from the rest); the offset is where the prediction correlates best with what was seen. Loudness alone finds
the same peak, less sharply: it does not know that an "m" is loud with the lips closed.

Lips move a little before the sound they shape; how much depends on speaker and sounds (Chandrasekaran et al. 2009), so
the offset is good to about a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.fft import dct

from talkingavatar.audio.features import RATE, STEPS, log_mel
from talkingavatar.preprocessing.keypoints import INNER_LIPS, Keypoints

REACH = 0.6  # seconds tried to either side
CEPSTRA = 13
RIDGE = 50.0  # strength, for standardised inputs
FOLDS = 10
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
    reach = round(REACH * fps)
    heard = _cepstra(samples, fps, len(opening), reach)
    if np.ptp(heard, axis=0).max() < 1e-6:
        return Offset(None, 0.0, 0.0, "there is no sound")
    shot = np.repeat(np.arange(len(shots)), [stop - start for start, stop in shots])
    curve = np.array([_agreement(opening, heard, seen, shot, lag, reach) for lag in range(-reach, reach + 1)])
    best = int(curve.argmax())
    part = _vertex(*curve[best - 1 : best + 2]) if 0 < best < len(curve) - 1 else 0.0
    peak = float(curve[best])
    return Offset(round(best - reach + part, 1), round(peak, 3), round(peak * float(seen.sum()) ** 0.5, 1))


def shifted(samples: Float[ndarray, " N"], frames: float, fps: float) -> Float[ndarray, " N"]:
    """The sound moved `frames` frames earlier (later, if negative), silent where nothing is known."""
    by = round(frames / fps * RATE)
    moved = np.zeros_like(samples)
    kept = samples[max(by, 0) : len(samples) + min(by, 0)]
    moved[max(-by, 0) : max(-by, 0) + len(kept)] = kept
    return moved


def _cepstra(samples: Float[ndarray, " N"], fps: float, frames: int, reach: int) -> Float[ndarray, "M 13"]:
    """Of the 80 ms around every frame, from `reach` frames before the first to `reach` frames after the last."""
    silence = np.zeros(round(reach / fps * RATE), np.float32)
    windows = log_mel(np.concatenate([silence, samples]), fps, frames + 2 * reach)
    middle = windows[:, STEPS // 2 - 2 : STEPS // 2 + 2].mean(axis=1)
    return dct(middle, axis=1, norm="ortho")[:, :CEPSTRA]


def _agreement(
    opening: Float[ndarray, " T"],
    heard: Float[ndarray, "M 13"],
    seen: Bool[ndarray, " T"],
    shot: ndarray,
    lag: int,
    reach: int,
) -> float:
    """Correlation of the opening with its prediction from the sound `lag` frames later in the same shot."""
    frames = len(opening)
    other = np.arange(frames) + lag
    valid = seen & (other >= 0) & (other < frames)
    valid[valid] = shot[valid] == shot[other[valid]]
    target, inputs = opening[valid], heard[other[valid] + reach]
    folds = np.array_split(np.arange(len(target)), FOLDS)
    predicted = np.concatenate([_predict(target, inputs, fold) for fold in folds])
    return float(np.corrcoef(predicted, target)[0, 1]) if predicted.std() > 0 else 0.0


def _predict(target: Float[ndarray, " n"], inputs: Float[ndarray, "n C"], fold: ndarray) -> Float[ndarray, " m"]:
    """The fold's targets by a ridge regression on all others."""
    rest = np.ones(len(target), bool)
    rest[fold] = False
    mean, spread = inputs[rest].mean(axis=0), inputs[rest].std(axis=0) + 1e-6
    x, level = (inputs[rest] - mean) / spread, target[rest].mean()
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (target[rest] - level))
    return (inputs[fold] - mean) / spread @ weights + level


def _vertex(left: float, middle: float, right: float) -> float:
    """Where the parabola through three neighbours peaks, in [-0.5, 0.5]."""
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
