"""Whether one avatar is better than another: paired differences, of the same frames and of the same people and seeds.

Neighbouring frames are nearly the same frame, so that a test which counts each of them takes a single moment for a law.
Differences of frames are therefore averaged over blocks, and the blocks are what is counted: by Wilcoxon's signed
ranks, which one odd block cannot sway and which need no normal distribution. A block lasts a second, longer than a
syllable or a glance, and at least three times as long as the differences themselves hang together: of simulated videos
of 12 and 24 s without any difference (each frame 0 to 0.95 of the one before) 2 to 11 % are then called certain, where
blocks of a second call up to 20 % so, and single frames about half. Seeds and people are few (2 x 2 in our sweeps): too
few for ranks to tell anything (four pairs cannot come below p = 0.125), so that they are counted by Student's t, on
differences that are means of a hundred frames each and hence nearly normal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

BLOCK = 1.0  # seconds that a block lasts at least
APART = 3.0  # and correlation times
ALPHA = 0.05  # two-sided, of each test
LEAST_BLOCKS = 6  # the signs of five in agreement have p = 0.0625


@dataclass(frozen=True)
class Paired:
    """What differences of pairs say: mean, mean over their standard deviation (Cohen's d), count, two-sided p."""

    mean: float
    effect: float
    count: int
    p: float

    @property
    def certain(self) -> bool:
        return self.p < ALPHA


def block_means(differences: Float[ndarray, " T"], frames: Sequence[int], fps: float) -> Float[ndarray, " n"]:
    """Means of blocks that are long enough to count each by itself; none reaches over frames that are missing.

    Args:
        differences: of each frame; NaN where there is none.
        frames: their numbers in the video, in order.
    """
    if not np.isfinite(differences).any():
        return np.zeros(0)
    length = max(BLOCK * fps, APART * correlation_time(differences))
    stretches = np.split(differences, np.flatnonzero(np.diff(frames) != 1) + 1)
    blocks = [block for s in stretches for block in np.array_split(s, max(1, round(len(s) / length)))]
    return np.array([np.nanmean(block) for block in blocks if np.isfinite(block).any()])


def correlation_time(differences: Float[ndarray, " T"]) -> float:
    """For how many frames they hang together: 1 and twice the sum of autocorrelations before the first that is none."""
    apart = np.nan_to_num(differences - np.nanmean(differences))
    together = np.correlate(apart, apart, "full")[len(apart) - 1 :]
    if together[0] == 0:
        return 1.0
    shares = together[1:] / together[0]
    ends = np.flatnonzero(shares <= 0)
    return float(1 + 2 * shares[: ends[0] if len(ends) else None].sum())


def over_blocks(means: Float[ndarray, " n"]) -> Paired:
    """Wilcoxon's signed ranks of blocks of frames."""
    from scipy.stats import wilcoxon

    return _paired(means, lambda: float(wilcoxon(means).pvalue))


def over_runs(differences: Float[ndarray, " n"]) -> Paired:
    """Student's t of pairs of runs, at least two: p is 1 of a single one."""
    from scipy.stats import ttest_1samp

    return _paired(differences, lambda: float(ttest_1samp(differences, 0.0).pvalue))


def _paired(differences: Float[ndarray, " n"], p: Callable[[], float]) -> Paired:
    mean, count = float(np.mean(differences)), len(differences)
    if count < 2 or not differences.any():
        return Paired(mean, float("nan"), count, 1.0)
    spread = float(np.std(differences, ddof=1))
    if spread <= 1e-12 * abs(mean):  # always the same, as of whole numbers: all that is left to count are the signs
        return Paired(mean, float("nan"), count, 2.0 ** (1 - count))
    return Paired(mean, mean / spread, count, p())
