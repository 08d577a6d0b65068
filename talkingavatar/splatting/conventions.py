"""What every backend shares: the constants of gsplat 1.5, so that all of them render a model alike."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.types import Cameras, Gaussians

Mode = Literal["3dgs", "2dgs"]

TILE = 16  # pixels; a splat is seen only in the tiles that its bounding box touches
NEAR, FAR = 0.01, 1e10  # metres along the camera's z axis
ALPHA_MIN = 1 / 255  # fainter contributions are dropped
ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4  # a pixel is finished before its transmittance would fall to this
EXTENT = 3.33  # standard deviations of a bounding box: exp(-3.33^2 / 2) < 1/255
BLUR_3DGS = 0.3  # square pixels added to the projected covariance (low-pass)
FILTER_2DGS = 2.0  # inverse variance of the screen-space low-pass of a surfel, 1 / pixel^2
FOV_MARGIN = 0.15  # of the image size: how far outside the EWA Jacobian is still evaluated in place
ALPHA_EPS = 1e-10  # guards the division of depth by alpha


def density_probe(cameras: Cameras, gaussians: Gaussians) -> Float[Tensor, "C N 2"]:
    """A leaf whose `.grad` a backend fills with the image-plane gradient that density control reads."""
    means = gaussians.means
    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in vars(gaussians).values())
    shape = (len(cameras), len(gaussians), 2)
    return torch.zeros(shape, dtype=means.dtype, device=means.device, requires_grad=wanted)


def watched(info: dict[str, Any]) -> Tensor:
    """The tensor of a rendering's `info` in which the backward pass leaves what `image_gradient` reads."""
    return next(info[name] for name in ("ray_transforms", "gradient_2dgs", "means2d") if name in info)


def image_gradient(info: dict[str, Any]) -> Float[Tensor, "C N 2"]:
    """Of a loss by each splat's place in the image, 1 / pixel, once the backward pass has been.

    Of surfels that of the last column of their ray transform, times depth (as gsplat 1.5, whose own sum is a race).
    """
    tensor = watched(info)
    gradient = tensor.grad
    assert gradient is not None, "retain_grad() before the backward pass"
    if "ray_transforms" not in info:
        return gradient
    return gradient[..., :2, 2] * tensor.detach()[..., 2, 2:]
