"""How far a sound runs from what moves with it.

For every candidate distance the seen signals are predicted from the sound's spectrum at that distance (ridge
regression, each tenth of the clip predicted from the rest); the distance is where the prediction correlates best with
what was seen. Loudness alone finds the same peak, less sharply: it does not know that an "m" is loud with the lips
closed. A distance is a number of frames by which the sound comes after what was seen; negative, before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.fft import dct

from talkingavatar.audio.features import log_mel
from talkingavatar.audio.steps import STEPS

CEPSTRA = 13
RIDGE = 50.0  # strength, for standardised inputs
FOLDS = 10
CHANCE = 100  # most distances at which chance is measured


def cepstra(samples: Float[ndarray, " N"], fps: float, frames: int) -> Float[ndarray, "T 13"]:
    """Of the 80 ms around each of `frames` frames; samples at 16 kHz that start with the first frame."""
    windows = log_mel(samples, fps, frames)
    middle = windows[:, STEPS // 2 - 2 : STEPS // 2 + 2].mean(axis=1)
    return dct(middle, axis=1, norm="ortho")[:, :CEPSTRA]


def silent(sound: Float[ndarray, "T C"]) -> bool:
    """Whether nothing in a sound's cepstra ever changes."""
    return bool(np.ptp(sound, axis=0).max() < 1e-6)


@dataclass(frozen=True)
class Watched:
    """What was seen of T frames in K signals; rows where `known` is false are left out, and no sound crosses a cut."""

    signals: Float[ndarray, "T K"]
    known: Bool[ndarray, " T"]
    shot: Int[ndarray, " T"]  # the number of the shot each frame is in
    ridge: float = RIDGE

    def curve(self, sound: Float[ndarray, "T C"], reach: int) -> Float[ndarray, " S"]:
        """The agreement with the sound at every distance from -reach to reach."""
        return np.array([self.agreement(sound, distance) for distance in range(-reach, reach + 1)])

    def agreement(self, sound: Float[ndarray, "T C"], distance: int) -> float:
        """Correlation of the signals with their prediction from the sound `distance` frames later in the same shot."""
        other = np.arange(len(self.signals)) + distance
        valid = self.known & (other >= 0) & (other < len(sound))
        valid[valid] = self.shot[valid] == self.shot[other[valid]]
        return predictability(self.signals[valid], sound[other[valid]], self.ridge)

    def chance(self, sound: Float[ndarray, "T C"], reach: int) -> Float[ndarray, " n"]:
        """The agreement with the same sound turned round a circle of T frames, by more than `reach` of them.

        Sound and motion keep their own rhythm, only what binds them is gone. Empty where the clip is too short.
        """
        away = np.arange(reach + 1, len(sound) - reach)
        if len(away) > CHANCE:
            away = away[np.linspace(0, len(away) - 1, CHANCE).round().astype(int)]
        turned = (np.roll(sound, by, axis=0)[self.known] for by in away)
        return np.array([predictability(self.signals[self.known], heard, self.ridge) for heard in turned])


def shot_numbers(shots: Sequence[tuple[int, int]]) -> Int[ndarray, " T"]:
    """Of every frame, for shots (start, stop) that cover all frames."""
    return np.repeat(np.arange(len(shots)), [stop - start for start, stop in shots])


def predictability(targets: Float[ndarray, "n K"], inputs: Float[ndarray, "n C"], ridge: float = RIDGE) -> float:
    """Correlation of targets with what the inputs predict of them in folds that the prediction never saw.

    Several targets are pooled after each one's mean is removed, so that one counts as much as it varies. 0 where
    nothing is predicted.
    """
    if len(targets) < 2 * FOLDS:
        return 0.0
    folds = np.array_split(np.arange(len(targets)), FOLDS)
    predicted = np.concatenate([_predict(targets, inputs, fold, ridge) for fold in folds])
    a, b = predicted - predicted.mean(axis=0), targets - targets.mean(axis=0)
    scale = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def _predict(
    targets: Float[ndarray, "n K"], inputs: Float[ndarray, "n C"], fold: Int[ndarray, " m"], ridge: float
) -> Float[ndarray, "m K"]:
    """The fold's targets by a ridge regression on all others."""
    rest = np.ones(len(targets), bool)
    rest[fold] = False
    mean, spread = inputs[rest].mean(axis=0), inputs[rest].std(axis=0) + 1e-6
    x, level = (inputs[rest] - mean) / spread, targets[rest].mean(axis=0)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (targets[rest] - level))
    return (inputs[fold] - mean) / spread @ weights + level


def peak_of(curve: Float[ndarray, " S"]) -> tuple[float, float]:
    """Where a curve over -reach to reach is highest, between its entries, and its highest entry."""
    best = int(curve.argmax())
    part = _vertex(*curve[best - 1 : best + 2]) if 0 < best < len(curve) - 1 else 0.0
    return best - len(curve) // 2 + part, float(curve[best])


def _vertex(left: float, middle: float, right: float) -> float:
    """Where the parabola through three neighbours peaks, in [-0.5, 0.5]."""
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
