"""Coarse masks that a detector got wrong for a few frames, mended by those round them.

Once in a while a segmentation takes a wall for a shoulder, or loses half of a head, and finds itself again some frames
later. Such a mask's area leaves the median of its surroundings. What it says far from the neighbours' person is
then not believed, except round arms and hands, which may be anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw
from scipy.ndimage import median_filter

from talkingavatar.preprocessing.keypoints import LEFT_HAND, RIGHT_HAND
from talkingavatar.preprocessing.plate import grown

AREA = 0.04  # by which an area may leave the median, as a share of it
AROUND = 81  # frames of that median
NEIGHBOURS = 12  # right frames that a wrong one is mended by
MARGIN = 0.025  # of the long side: within it of the neighbours' edge a mask still decides itself
LIMB = 0.08  # of the long side: half of the width that an arm is given
SURE = 0.5  # confidence of an arm's points
_ARMS = ((2, 3), (3, 4), (5, 6), (6, 7))  # shoulder, elbow, wrist in BODY_25


class SteadyMasks:
    """The masks of a clip, mended where one is wrong."""

    def __init__(
        self,
        masks: UInt8[ndarray, "T h w"],
        points: Float[ndarray, "T 135 3"],
        scale: tuple[float, float],
        shots: Sequence[tuple[int, int]],
    ) -> None:
        """`scale` brings the points (`Keypoints.points`) to the masks' pixels."""
        self.masks, self.points, self.scale, self.shots = masks, points, np.array(scale), shots
        areas = np.array([float((mask > 127).mean()) for mask in masks])
        self.wrong = np.zeros(len(masks), bool)
        for start, stop in shots:
            usual = median_filter(areas[start:stop], AROUND, mode="nearest")
            self.wrong[start:stop] = np.abs(areas[start:stop] - usual) > AREA * usual

    def __getitem__(self, index: int) -> UInt8[ndarray, "h w"]:
        own = np.array(self.masks[index])
        if not self.wrong[index]:
            return own
        start, stop = next(shot for shot in self.shots if shot[0] <= index < shot[1])
        right = np.flatnonzero(~self.wrong[start:stop]) + start
        if not len(right):
            return own
        nearest = right[np.argsort(np.abs(right - index), kind="stable")[:NEIGHBOURS]]
        usual = np.median(self.masks[nearest], axis=0).astype(np.uint8)
        margin = MARGIN * max(own.shape)
        far, deep = (~grown(mask, margin) for mask in (usual > 127, usual <= 127))
        own[far & ~self._limbs(index)] = 0
        return np.where(deep, np.maximum(own, usual), own)

    def _limbs(self, index: int) -> Bool[ndarray, "h w"]:
        """Round arms and hands."""
        height, width = self.masks.shape[1:]
        picture = Image.new("1", (width, height))
        draw, reach = ImageDraw.Draw(picture), LIMB * max(width, height)
        points = self.points[index]
        xy = points[:, :2] * self.scale
        for a, b in _ARMS:
            if min(points[a, 2], points[b, 2]) > SURE:
                draw.line([*xy[a].tolist(), *xy[b].tolist()], fill=1, width=max(1, round(2 * reach)))
        for hand in (LEFT_HAND, RIGHT_HAND):
            for (x, y), known in zip(xy[hand].tolist(), points[hand, 2] > 0, strict=True):
                if known:
                    draw.ellipse([x - reach, y - reach, x + reach, y + reach], fill=1)
        return np.array(picture)
