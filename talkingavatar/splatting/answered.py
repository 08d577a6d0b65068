"""What of the pictures' error each Gaussian answers for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.geometry.spherical_harmonics import SH_C0
from talkingavatar.types import Gaussians, Rendering


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
