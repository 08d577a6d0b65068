"""Pinhole projection."""

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.types import Cameras


def project(points: Float[Tensor, "B N 3"], cameras: Cameras) -> Float[Tensor, "B N 2"]:
    """World points to pixels, each row through the camera of that row."""
    seen = torch.einsum("bij,bnj->bni", cameras.viewmats[:, :3, :3], points) + cameras.viewmats[:, None, :3, 3]
    pixels = torch.einsum("bij,bnj->bni", cameras.Ks, seen)
    return pixels[..., :2] / pixels[..., 2:]
