"""Which emotion a phrase is acted with, told from the action units of its frames by a small classifier.

Linear discriminant analysis on each unit's mean and peak: closed form, so that the same phrases give the same answers.
No published network is meant by it; its accuracy on true faces is the ceiling of what it may say of others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

PEAK = 95  # percentile of a phrase's frames: a tracker's single jump is no peak
SHRINKAGE = 0.05  # of the covariance towards the unit matrix, in standardised features


def phrase_features(units: Float[ndarray, "T 17"]) -> Float[ndarray, " 34"]:
    """Mean and peak of each action unit over a phrase."""
    return np.concatenate([units.mean(0), np.percentile(units, PEAK, axis=0)])


@dataclass(frozen=True)
class EmotionClassifier:
    """Scores of C emotions, of features that are standardised."""

    mean: Float[ndarray, " F"]
    scale: Float[ndarray, " F"]
    weights: Float[ndarray, "F C"]
    bias: Float[ndarray, " C"]

    @staticmethod
    def fitted(features: Float[ndarray, "N F"], labels: Int[ndarray, " N"], count: int) -> EmotionClassifier:
        """To phrases of `count` emotions, of each of which there is one; all are held for equally likely."""
        mean, scale = features.mean(0), features.std(0) + 1e-6
        known = (features - mean) / scale
        centres = np.stack([known[labels == label].mean(0) for label in range(count)])
        rest = known - centres[labels]
        spread = (1 - SHRINKAGE) * rest.T @ rest / len(rest) + SHRINKAGE * np.eye(len(mean))
        weights = np.linalg.solve(spread, centres.T)
        return EmotionClassifier(mean, scale, weights, -0.5 * (centres.T * weights).sum(0))

    def told(self, features: Float[ndarray, "N F"]) -> Int[ndarray, " N"]:
        """The likeliest emotion of each phrase."""
        return ((features - self.mean) / self.scale @ self.weights + self.bias).argmax(1)


def confusion(labels: Int[ndarray, " N"], told: Int[ndarray, " N"], count: int) -> Int[ndarray, "C C"]:
    """How many phrases of each emotion (rows) are told as each (columns)."""
    table = np.zeros((count, count), int)
    np.add.at(table, (labels, told), 1)
    return table
