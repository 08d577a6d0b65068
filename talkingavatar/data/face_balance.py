"""How often training draws each frame: seldom faces oftener than their share of the clip."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

KINDS = 6  # of motion that faces differ by most
BINS = 8  # of the strength of each
MOST = 4.0  # times that a frame is drawn as often as it would be among all alike: one frame says little


def shares_by_face(faces: Float[ndarray, "F C"], balance: float) -> Float[ndarray, " F"]:
    """Shares of all draws, in sum 1: a face of a strength that few frames have is drawn the more.

    As talkers that draw open mouths and blinks oftener do (by action units 45 and 25), but of whatever this clip's
    faces differ in: its main kinds of motion, the larger the more, each cut into bins of strength that share alike.

    Args:
        faces: expression coefficients and the jaw of each frame.
        balance: share of the draws that goes by the face; the rest goes to all frames alike.
    """
    count = len(faces)
    even = np.full(count, 1 / count)
    centred = faces - np.median(faces, 0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    rare = np.zeros(count)
    for size, direction in zip(sizes[:KINDS] + 1e-12, directions, strict=False):
        strength = centred @ direction
        low, width = strength.min(), max(np.ptp(strength), 1e-12)
        found = np.minimum((BINS * (strength - low) / width).astype(int), BINS - 1)
        in_bin = np.bincount(found, minlength=BINS)
        rare += size / (in_bin[found] * np.count_nonzero(in_bin))
    shares = (1 - balance) * even + balance * rare / rare.sum()
    for _ in range(count):  # what is cut off goes to the others, which may then be too many
        over = shares > MOST / count
        shares[over] = MOST / count
        if not over.any() or over.all():
            break
        shares[~over] *= (1 - shares[over].sum()) / shares[~over].sum()
        if (shares <= MOST / count * (1 + 1e-9)).all():
            break
    return shares / shares.sum()
