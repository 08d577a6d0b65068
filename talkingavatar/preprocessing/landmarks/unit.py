"""The unit of 2D landmarks, told by the extent of what was seen against the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.errors import UserError

BEYOND = 1.25  # share of the picture up to which points may lie: what is seen in part is guessed beyond the edge
SHARES = 3.0  # up to which coordinates may be shares of the picture
SMALLEST = 0.02  # of the picture's longer side: nobody's face and body are smaller
CORNER = 0.55  # share of both sides within which no body stays for a whole clip
SIGNED = 0.05  # share of coordinates below 0 from which they count from the middle


@dataclass(frozen=True)
class Unit:
    """Pixels = scale * (coordinate - origin)."""

    name: str
    scale: Float[ndarray, " 2"]
    origin: Float[ndarray, " 2"]


def unit_of(points: Float[ndarray, "N 2"], size: tuple[int, int], anywhere: bool, where: str, action: str) -> Unit:
    """
    Args:
        points: all that was seen of the person, in the unit that is looked for.
        size: width and height of the whole picture, pixels.
        anywhere: it may lie in any corner: a face alone, or a user's crop.
        where: the file, for errors.
        action: how they are made in pixels.

    Raises:
        UserError: the points lie so that no unit is likely.
    """
    whole = np.array(size, float)
    low, high = np.percentile(points, [1, 99], axis=0)
    shares = np.abs([low, high]).max() <= SHARES and max(size) > 4 * SHARES
    if shares and (high - low).max() > SMALLEST:
        if (points < 0).mean() > SIGNED:
            return Unit("from -1 to 1 of the picture", whole / 2, np.full(2, -1.0))
        return Unit("shares of the picture, 0 to 1", whole, np.zeros(2))
    extent = "points from {:.0f}, {:.0f} to {:.0f}, {:.0f}".format(*low, *high)
    found = f"{where}: {extent} in a picture of {size[0]}x{size[1]}"
    too_small = (high - low).max() < SMALLEST * max(size)
    corner = not anywhere and bool((high < CORNER * whole).all())
    if (high > BEYOND * whole).any() or (low < (1 - BEYOND) * whole).any() or too_small or corner:
        more = "; if the person is in that corner only, give crop=x0,y0,x1,y1" if corner else ""
        raise UserError("landmarks", found, "pixels of this video, or shares of its picture", action + more)
    return Unit("pixels of the video", np.ones(2), np.zeros(2))
