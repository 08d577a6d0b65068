"""Colours that the person and the background near by share: they tell neither from the other."""

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from talkingavatar.preprocessing.matte_kernels import directions
from talkingavatar.runtime.compiled import compiled

SAME = 0.06  # standard deviation of the distance between two places of one colour


@no_type_check
@compiled
def shared_colours(
    image: Float[ndarray, "H W 3"],
    labels: UInt8[ndarray, "H W"],
    plate: Float[ndarray, "H W 3"],
    known: Bool[ndarray, "H W"],
    reach: int,
) -> tuple[Float[ndarray, "H W"], Float[ndarray, "H W"]]:
    """How surely an unknown pixel's colour is one of the subject's near by, and of the background's, each in [0, 1].

    Before a white wall, the white stripe of a shirt is likest the wall: its own colour lies two stripes away.

    Args:
        image: float32 in [0, 1].
        labels: 0 background, 1 unknown, 2 subject.
        plate, known: the clean plate, where it is the background, and where it was seen.
        reach: pixels, how far along rays the colours are looked for.
    """
    height, width = labels.shape
    of_subject, of_ground = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    rays_of = directions()
    for y in range(height):
        for x in range(width):
            if labels[y, x] != 1:
                continue
            subject, ground = 1e9, 1e9
            if known[y, x]:
                ground = _apart(image[y, x], plate[y, x])
            for dx, dy in rays_of[(x % 3) * 3 + y % 3]:
                for step in range(1, reach):
                    sx, sy = int(x + dx * step + 0.5), int(y + dy * step + 0.5)
                    if sx < 0 or sy < 0 or sx >= width or sy >= height:
                        break
                    if labels[sy, sx] == 2:
                        subject = min(subject, _apart(image[y, x], image[sy, sx]))
                    elif labels[sy, sx] == 0 and not known[y, x]:
                        ground = min(ground, _apart(image[y, x], image[sy, sx]))
            of_subject[y, x] = math.exp(-subject / (2 * SAME * SAME))
            of_ground[y, x] = math.exp(-ground / (2 * SAME * SAME))
    return of_subject, of_ground


@no_type_check
@compiled
def _apart(one: Float[ndarray, " 3"], other: Float[ndarray, " 3"]) -> float:
    """The squared distance of two colours."""
    total = 0.0
    for c in range(3):
        total += (one[c] - other[c]) ** 2
    return total
