"""Which of two seen hands is believed, and how much.

MediaPipe gives each hand twice: the holistic graph's, which follows the arm even where hands are interlocked but often
collapses the fingers, and the hand detector's on a crop round the wrist, which is right far more often but loses
interlocked, cut off or blurred hands. The second is taken where it exists. Nothing is smoothed or filled in.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

# Lengths are in hand lengths (see `_length`); tuned by looking at 600 frames of free gestures at 30 fps.
FOLLOWED = 0.4  # confidence of a hand that only the holistic graph gave
REACH = 0.6  # the hand's wrist lies this near to the arm's
SAME = 0.15  # two hands this near to each other, point by point, are one hand
WAVER, JUMP = 0.2, 0.5  # distance from between the frames before and after: confidence halved, hand dropped


def choose(
    hands: Float[ndarray, "T 2 2 21 2"], scores: Float[ndarray, "T 2 2"], wrists: Float[ndarray, "T 2 3"]
) -> Float[ndarray, "T 2 21 3"]:
    """The left and the right hand with confidence; NaN and 0 where neither was seen or none is plausible.

    Args:
        hands: left and right, each by the holistic graph and by the detector, pixels.
        scores: of the same; 0 where not seen.
        wrists: left and right, from the pose: x, y, visibility.
    """
    confidence = scores * np.array([FOLLOWED, 1.0], np.float32)
    length = _length(hands, scores)
    away = np.linalg.norm(hands[..., 0, :] - wrists[:, :, None, :2], axis=-1)
    confidence[away > REACH * length] = 0.0
    _drop_doubles(hands, confidence, away, length)
    apart = np.linalg.norm(hands[:, :, 0] - hands[:, :, 1], axis=-1).mean(axis=-1)
    agree = (confidence > 0).all(axis=2) & (apart < SAME * length)
    confidence[agree, 1] = np.maximum(confidence[agree, 1], 0.9)

    best = confidence.argmax(axis=2)[..., None]
    value = np.take_along_axis(confidence, best, axis=2)
    chosen = np.take_along_axis(hands, best[..., None, None], axis=2)[:, :, 0]
    chosen = np.where(value[..., None] > 0, chosen, np.nan)
    return np.concatenate([chosen, np.broadcast_to(value[..., None], (*chosen.shape[:3], 1))], axis=-1)


def doubt(hands: Float[ndarray, "T 2 21 3"]) -> Float[ndarray, "T 2 21 3"]:
    """Lower the confidence of hands of one shot that disagree with the frames beside them, and drop those that jump."""
    judged = hands.copy()
    if len(hands) < 3:
        return judged
    length = _length(hands[:, :, None, :, :2], hands[:, :, None, 0, 2])
    between = (hands[:-2, ..., :2] + hands[2:, ..., :2]) / 2
    off = np.linalg.norm(hands[1:-1, ..., :2] - between, axis=-1).mean(axis=-1) / length
    off = np.nan_to_num(off)  # beside a gap there is nothing to compare with
    # A frame is judged by itself only: a jump also moves the middle its neighbours are compared with.
    peak = off >= np.maximum(np.pad(off, ((1, 0), (0, 0)))[:-1], np.pad(off, ((0, 1), (0, 0)))[1:])
    inside = judged[1:-1]
    inside[..., 2] /= (1 + (off / WAVER) ** 2)[..., None]
    inside[peak & (off > JUMP)] = (np.nan, np.nan, 0.0)
    return judged


def _drop_doubles(
    hands: Float[ndarray, "T 2 2 21 2"],
    confidence: Float[ndarray, "T 2 2"],
    away: Float[ndarray, "T 2 2"],
    length: float,
) -> None:
    """Where the detector gave one hand for both sides, it belongs to the arm it is nearer to."""
    found = hands[:, :, 1]
    same = np.linalg.norm(found[:, 0] - found[:, 1], axis=-1).mean(axis=-1) < SAME * length
    same &= (confidence[:, :, 1] > 0).all(axis=1)
    frames = np.flatnonzero(same)
    confidence[frames, away[frames, :, 1].argmax(axis=1), 1] = 0.0


def _length(hands: Float[ndarray, "T 2 K 21 2"], scores: Float[ndarray, "T 2 K"]) -> float:
    """A hand's length in pixels: the extent of the largest fifth of those seen, since most are foreshortened."""
    seen = hands[scores > 0]
    if not len(seen):
        return 1.0
    return float(np.percentile(np.linalg.norm(seen.max(axis=1) - seen.min(axis=1), axis=-1), 80))
