"""Surroundings of a face: the portrait's plane. Hair goes with the skull, neck and shoulders less and less."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.data.portrait.kernels import spread, unfolded
from talkingavatar.data.portrait.portrait import Portrait

SIZES = (1.0, 1.28, 1.6, 2.1, 2.8)  # of the rings, of the face's rim
ABOVE, BELOW = (1.0, 1.0, 1.0, 0.6, 0.0), (1.0, 0.9, 0.55, 0.2, 0.0)  # how much of the head's motion they have
CHIN, EARS = -0.5, 0.2  # heights in halves of the face, between which a ring passes from below to above
CELLS = 48  # of the grid on which the motion is told, along each side
EDGE = 13  # points along each side of the picture, which stand still


class Sheet:
    """What of the surroundings is the same in every frame."""

    def __init__(
        self, portrait: Portrait, rim: Float[ndarray, "R 2"], place: Float[Tensor, " 3"], rotation: Float[Tensor, "3 3"]
    ) -> None:
        """
        Args:
            rim: of the face in the portrait, in order, pixels.
            place, rotation: of the head in the portrait.
        """
        self.width, self.height = portrait.size
        middle, half = rim.mean(0), np.ptp(rim[:, 1]) / 2
        rise = ((middle[1] - rim[:, 1]) / half - CHIN) / (EARS - CHIN)
        up = rise.clip(0, 1)
        self.share = np.concatenate([up * a + (1 - up) * b for a, b in zip(ABOVE, BELOW, strict=True)])
        self.rings = np.concatenate([middle + size * (rim - middle) for size in SIZES])
        self.rim = rim
        # The outline of hair lies as far from the camera as the middle of the head.
        self.skull = (portrait.lifted(self.rings, float(place[2])) - place) @ rotation
        line = np.linspace(0, 1, EDGE)
        sides = [np.stack([line * self.width, np.full(EDGE, y * self.height)], 1) for y in (0, 1)]
        sides += [np.stack([np.full(EDGE, x * self.width), line * self.height], 1) for x in (0, 1)]
        self.anchors = np.concatenate([self.rings, *sides])

    def places(
        self, rim: Float[ndarray, "R 2"], skull: Float[ndarray, "K 2"]
    ) -> tuple[Float[ndarray, "H W 2"], Float[ndarray, "H W"]]:
        """Where each pixel lay in the portrait, and how far that is, pixels.

        Args:
            rim: where the face's rim is now, pixels.
            skull: where `skull` is now, pixels.
        """
        moved = skull - self.rings
        moved[: len(rim)] = rim - self.rim
        motions = np.zeros_like(self.anchors)
        motions[: len(moved)] = self.share[:, None] * moved
        return unfolded(spread(self.anchors, motions, self.width, self.height, CELLS), self.width, self.height)
