"""What of the pictures' error each Gaussian answers for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from talkingavatar.geometry.rotations import third_axis
from talkingavatar.geometry.spherical_harmonics import SH_C0
from talkingavatar.splatting.colours import directions
from talkingavatar.types import Cameras, Gaussians, Rendering

FRONTAL = 0.5  # cosine between a Gaussian's third axis and the line of sight: within 60 degrees


def answered(
    gaussians: Gaussians, error: Float[Tensor, "C H W 1"], draw: Callable[[Gaussians], Rendering]
) -> Float[Tensor, " N"]:
    """The error summed over the pixels of all views, each weighted with the Gaussian's share in it (alpha times T).

    Rota Bulo et al. 2024, "Revising Densification in Gaussian Splatting", section 3.1: the slope of what is drawn by a
    value that each Gaussian adds, on top of whatever it shows.

    Args:
        gaussians: as they were drawn.
        error: of each pixel, at least 0.
        draw: the rasteriser, with the cameras they were drawn for.
    """
    plain = gaussians.detach()
    added = torch.zeros_like(plain.sh[:, :1]).requires_grad_()  # to mid grey, so that no colour is clamped
    with torch.enable_grad():
        rgb = draw(replace(plain, sh=added)).rgb
        (shares,) = torch.autograd.grad(rgb, added, error.detach().expand_as(rgb).contiguous())
    return shares[:, 0].mean(-1) / SH_C0


def facing(gaussians: Gaussians, cameras: Cameras) -> Bool[Tensor, " N"]:
    """Which Gaussians some camera sees rather from the front than from aside.

    Of the others, at outlines, the error says that they lie wrongly, and not that they are too coarse: many small ones
    in their place would be no better, and leave gaps that other views show.
    """
    sight = normalize(directions(gaussians, cameras), dim=-1)
    return ((sight * third_axis(gaussians.quats)).sum(-1).abs() > FRONTAL).any(0)
