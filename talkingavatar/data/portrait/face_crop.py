"""The square about a face that LivePortrait sees: cut out of a picture, and put back into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

SCALE, RAISED = 2.3, 0.125  # sides of the landmarks' square; share of the side by which the middle lies above theirs
SEAM = 1 / 12  # of the side, over which what is put back fades
EYES, LIPS = slice(36, 48), slice(48, 68)  # of the 68 landmarks


@dataclass(frozen=True)
class FaceCrop:
    """`middle`, pixels (centres at +0.5); `side`, pixels; `across`, the unit vector to the square's right."""

    middle: Float[ndarray, " 2"]
    side: float
    across: Float[ndarray, " 2"]

    @property
    def axes(self) -> Float[ndarray, "2 2"]:
        """From the square's own coordinates, [-1, 1], to pixels: to its right and down."""
        right = self.across * self.side / 2
        return np.stack([right, np.array([-right[1], right[0]])], 1)

    def cut(self, picture: Float[Tensor, "C H W"], size: int) -> Float[Tensor, "C S S"]:
        """The square with `size` pixels a side; beyond the picture its edge goes on."""
        fine = max(1, round(self.side / size))  # what is made smaller is seen at all of its pixels first
        ticks = (np.arange(size * fine) + 0.5) / (size * fine) * 2 - 1
        square = np.stack(np.meshgrid(ticks, ticks), -1)
        places = self.middle + square @ self.axes.T
        seen = _sampled(picture, 2 * places / picture.shape[:0:-1] - 1)
        return F.avg_pool2d(seen, fine)

    def put_back(self, made: Float[Tensor, "C S S"], picture: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
        """The picture with the square in it, fading towards the square's edge."""
        rows, columns, places, share = self._cover(*picture.shape[1:])
        out = picture.clone()
        beside = picture[:, rows, columns]
        out[:, rows, columns] = beside + share.to(picture) * (_sampled(made, places) - beside)
        return out

    def _cover(self, height: int, width: int) -> tuple[slice, slice, Float[ndarray, "h w 2"], Float[Tensor, "h w"]]:
        """Rows and columns that the square covers; where in it they lie, and how much of it is shown there."""
        corners = self.middle + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) @ self.axes.T
        low = np.floor(corners.min(0)).clip(0).astype(int)
        high = np.ceil(corners.max(0)).clip(0, (width, height)).astype(int)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        places = (np.stack([x, y], -1) - self.middle) @ np.linalg.inv(self.axes).T
        inside = (1 - np.abs(places)).min(-1) / (2 * SEAM)
        share = torch.from_numpy(inside.clip(0, 1).astype(np.float32))
        return slice(low[1], high[1]), slice(low[0], high[0]), places, share * share * (3 - 2 * share)


def face_crop(marks: Float[ndarray, "T 68 2"]) -> FaceCrop:
    """One square for a person's face in T pictures, upright from lips to eyes, by their mean landmarks (pixels).

    Scale and place are the published ones; there an InsightFace detector's points say where the face is.
    """
    points = marks.mean(0).astype(np.float64)
    down = points[LIPS].mean(0) - points[EYES].mean(0)
    down /= max(float(np.linalg.norm(down)), 1e-6)
    axes = np.stack([(down[1], -down[0]), down])
    turned = points @ axes.T
    low, high = turned.min(0), turned.max(0)
    side = SCALE * float((high - low).max())
    middle = (low + high) / 2 - (0, RAISED * side)
    return FaceCrop(middle @ axes, side, axes[0])


def _sampled(picture: Float[Tensor, "C H W"], places: Float[ndarray, "h w 2"]) -> Float[Tensor, "C h w"]:
    """Bilinear, x and y from -1 to 1 from edge to edge."""
    where = torch.from_numpy(places).to(picture)
    return F.grid_sample(picture[None], where[None], padding_mode="border", align_corners=False)[0]
