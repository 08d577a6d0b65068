"""Where a clip was cut: frames that the motion around them does not explain.

Each frame is rebuilt from the one before it, block by block, by the best match nearby; what is left over measures how
much is new. Motion, even fast, leaves little and comes in runs of frames; a cut leaves much in one. A jump within one
take (frames lost while the head turns fast) is found too where it stands out of the seconds around it: temporal
terms must not bridge it either.
"""

from __future__ import annotations

from itertools import pairwise
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.runtime.compiled import compiled

LONG_SIDE, BLOCK, REACH = 128, 8, 8  # pixels of the small pictures that are compared
AROUND = 25  # frames on either side that a jump must stand out of
JUMP, CUT = 0.7, 2.0  # how far above its surroundings, in medians of the clip
FLOOR = 0.5  # least median, of 255: below is coding noise
NEW = 20.0  # of 255: no motion leaves as much; unrelated pictures differ by 30 to 80


def thumbnail(picture: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "h w 3"]:
    """The small picture that is compared."""
    height, width = picture.shape[:2]
    scale = LONG_SIDE / max(height, width)
    size = max(BLOCK, round(width * scale)), max(BLOCK, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def novelty(before: UInt8[ndarray, "h w 3"], after: UInt8[ndarray, "h w 3"]) -> float:
    """Mean absolute difference, of 255, that block motion leaves between two pictures; the worse of both directions."""
    a, b = before.astype(np.float32), after.astype(np.float32)
    return max(_residual(a, b), _residual(b, a))


def find_cuts(novelties: Float[ndarray, " T"]) -> list[int]:
    """First frames of new shots. `novelties[t]` compares frames t - 1 and t; entry 0 is ignored.

    A frame is one where its novelty exceeds the 95th percentile of the second before and after by `JUMP` medians of
    the clip, or its two neighbours on each side by `CUT` medians, or `NEW` on its own.
    """
    if len(novelties) < 2:
        return []
    median = max(FLOOR, float(np.median(novelties[1:])))

    def others(t: int, reach: int) -> Float[ndarray, " n"]:
        found = np.r_[novelties[max(1, t - reach) : t], novelties[t + 1 : t + 1 + reach]]
        return found if len(found) else np.zeros(1)

    return [
        t
        for t in range(1, len(novelties))
        if novelties[t] > np.quantile(others(t, AROUND), 0.95) + JUMP * median
        or novelties[t] > others(t, 2).max() + CUT * median
        or novelties[t] > NEW
    ]


def shots_between(cuts: list[int], frames: int) -> list[tuple[int, int]]:
    """(start, stop) of every shot, stop exclusive."""
    return list(pairwise([0, *cuts, frames]))


@no_type_check
@compiled
def _residual(source: Float32[ndarray, "h w 3"], target: Float32[ndarray, "h w 3"]) -> float:
    """Mean over the target's blocks of the least mean absolute difference to a block of the source within reach."""
    height, width, _ = target.shape
    rows, columns = height // BLOCK, width // BLOCK
    total = 0.0
    for row in range(rows):
        for column in range(columns):
            y, x = row * BLOCK, column * BLOCK
            best = np.inf
            for v in range(max(0, y - REACH), min(height - BLOCK, y + REACH) + 1):
                for u in range(max(0, x - REACH), min(width - BLOCK, x + REACH) + 1):
                    error = 0.0
                    for i in range(BLOCK):
                        for j in range(BLOCK):
                            for c in range(3):
                                error += abs(target[y + i, x + j, c] - source[v + i, u + j, c])
                        if error >= best:
                            break
                    best = min(best, error)
            total += best
    return total / (rows * columns * BLOCK * BLOCK * 3)
