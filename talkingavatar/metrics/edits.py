"""What an edit of a face does and what it leaves alone, in intensities 0 to 5 of OpenFace's 17 action units."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import spearmanr

RIDGE = 0.05  # of squared intensities: units that move less say nothing of others
LEAST = 0.05  # intensity by which one strength has to be above the one before


def in_order(levels: Float[ndarray, " L"]) -> bool:
    """Whether each strength (the first is no edit) is above the one before."""
    return bool((np.diff(levels) > LEAST).all())


def rank_correlation(levels: Float[ndarray, " L"]) -> float:
    """Spearman's, of what an edit comes to with how strongly it is asked for; 0 where nothing comes of it."""
    if np.ptp(levels) == 0:
        return 0.0
    return float(spearmanr(np.arange(len(levels)), levels).statistic)


def moves_along(truth: Float[ndarray, "T 17"], asked: Bool[ndarray, " 17"]) -> Float[ndarray, "17 a"]:
    """By how much each unit of a true face moves with a unit of each of those asked for: a ridge on all its frames."""
    centred = truth - truth.mean(0)
    known = centred[:, asked]
    gram = known.T @ known / len(truth) + RIDGE * np.eye(known.shape[1])
    return np.linalg.solve(gram, known.T @ centred / len(truth)).T


def leak(
    change: Float[ndarray, " 17"],
    asked: Bool[ndarray, " 17"],
    spared: Bool[ndarray, " 17"],
    along: Float[ndarray, "17 a"],
) -> tuple[float, float]:
    """How far units that were to be spared are changed, and how far beyond what a true face does along with the others.

    Args:
        change: mean of each unit, edited less unedited.
        asked: units that the edit is to raise.
        spared: those that it has no business with.
        along: of `moves_along`.

    Returns:
        Mean over the units spared of their absolute change, and of what of it lies outside the way from no change to
        the change that the true face would show; the second is never larger.
    """
    expected = along @ change[asked]
    low, high = np.minimum(expected, 0), np.maximum(expected, 0)
    beyond = change - change.clip(low, high)
    return float(np.abs(change[spared]).mean()), float(np.abs(beyond[spared]).mean())


def edge_roughness(
    unedited: Float[ndarray, "T 17"], edited: Float[ndarray, "T 17"], edges: Iterable[int], reach: int
) -> float:
    """Greatest second difference that an edit brings near where it begins and ends, by the speech's own greatest.

    Args:
        edges: frames.
        reach: frames to both sides of them.
    """
    own, brought = (np.abs(np.diff(units, n=2, axis=0)).max(1) for units in (unedited, edited - unedited))
    near = np.zeros(len(own), bool)
    for edge in edges:
        near[max(edge - reach - 1, 0) : edge + reach] = True
    return float(brought[near].max() / max(own.max(), 1e-9))
