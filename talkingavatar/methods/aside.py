"""Views that no camera had: whoever is whole stays whole there, whatever the colours are."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from talkingavatar.geometry.cameras import orbit, project
from talkingavatar.types import Cameras

EVERY = 8  # steps between such views
NEAREST, FARTHEST = 15.0, 165.0  # degrees from the camera, to either side
GOLDEN = (5**0.5 - 1) / 2  # its multiples, less their whole parts, are spread evenly however many there are
COARSE = 2  # pixels of the camera that are one of such a view: gaps are wider than that


def aside(camera: Cameras, centre: Float[Tensor, " 3"], step: int) -> Cameras:
    """The camera swung about the person, by another angle in each step, with coarser pixels."""
    return swung(camera, centre, step // EVERY, NEAREST, FARTHEST)


def swung(camera: Cameras, centre: Float[Tensor, " 3"], turn: int, nearest: float, farthest: float) -> Cameras:
    """The same by an angle between two, degrees, to either side in turn; all of them come in time."""
    angle = nearest + (farthest - nearest) * (GOLDEN * turn % 1)
    seen = orbit(camera, centre, math.radians(angle if turn % 2 else -angle))
    Ks = seen.Ks.clone()
    Ks[:, :2] /= COARSE
    return Cameras(seen.viewmats, Ks, camera.width // COARSE, camera.height // COARSE)


def openness(alpha: Float[Tensor, "1 H W 1"], points: Float[Tensor, "1 P 3"], camera: Cameras) -> Float[Tensor, " P"]:
    """How much of the background shows through where points inside the person lie; 0 of those outside the picture.

    Args:
        points: world space, metres; whatever side of the person they are on, something of the person is before them.
    """
    x, y = project(points, camera).unbind(-1)
    place = torch.stack([x / camera.width, y / camera.height], -1) * 2 - 1
    covered = grid_sample(alpha.permute(0, 3, 1, 2), place[None], align_corners=False)[0, 0, 0]
    return (1 - covered) * (place.abs() < 1).all(-1)[0]
