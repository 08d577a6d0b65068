"""Pinhole projection."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from talkingavatar.types import Cameras


def project(points: Float[Tensor, "B N 3"], cameras: Cameras) -> Float[Tensor, "B N 2"]:
    """World points to pixels, each row through the camera of that row."""
    seen = torch.einsum("bij,bnj->bni", cameras.viewmats[:, :3, :3], points) + cameras.viewmats[:, None, :3, 3]
    pixels = torch.einsum("bij,bnj->bni", cameras.Ks, seen)
    return pixels[..., :2] / pixels[..., 2:]


def in_picture(points: Float[Tensor, "N 3"], camera: Cameras) -> Bool[Tensor, " N"]:
    """Which of the points before a camera (C = 1) are within its picture's edges."""
    place = project(points[None], camera)[0]
    return ((place > 0) & (place < torch.tensor([camera.width, camera.height], device=place.device))).all(-1)


def eyes(viewmats: Float[Tensor, "C 4 4"]) -> Float[Tensor, "C 3"]:
    """Where the cameras stand in the world. In closed form: a matrix inverse makes the host wait for a CUDA device."""
    return -(viewmats[:, :3, :3].mT @ viewmats[:, :3, 3:])[..., 0]


def orbit(camera: Cameras, centre: Float[Tensor, " 3"], angle: float) -> Cameras:
    """The camera turned by `angle` radians round the vertical axis through `centre`: the world turns the other way."""
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.eye(4, device=centre.device)
    turn[0, 0], turn[0, 2], turn[2, 0], turn[2, 2] = c, s, -s, c  # number by number: a copy from the host would wait
    turn[:3, 3] = centre - turn[:3, :3] @ centre
    return Cameras(camera.viewmats @ turn, camera.Ks, camera.width, camera.height)


def close_up(camera: Cameras, points: Float[Tensor, "N 3"], size: int, room: float) -> Cameras:
    """The camera (C = 1) with a square picture of what spans the points, they in its middle.

    Args:
        size: of the picture, pixels each way.
        room: what it shows, in the points' own span.
    """
    pixels = project(points[None], camera)[0]
    low, high = pixels.amin(0), pixels.amax(0)
    zoom = size / (room * (high - low).amax())
    Ks = camera.Ks.clone()
    Ks[:, :2] *= zoom
    Ks[:, :2, 2] += size / 2 - zoom * (low + high) / 2
    return Cameras(camera.viewmats, Ks, size, size)
