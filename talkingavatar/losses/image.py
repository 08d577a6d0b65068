"""Losses between a rendered and a real picture."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d

from talkingavatar.losses.image_cpu import L1, Dssim, compiled


def l1(rendered: Float[Tensor, "*b H W C"], target: Float[Tensor, "*b H W C"]) -> Float[Tensor, "*b H W C"]:
    """Absolute difference; gradient to `rendered` only on a CPU."""
    if compiled(rendered, target):
        return L1.apply(rendered, target)
    return (rendered - target).abs()


def dssim(rendered: Float[Tensor, "B H W 3"], target: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B H W 3"]:
    """1 - SSIM per pixel and channel, as 3DGS trains with (no factor 1/2); gradient to `rendered` only on a CPU."""
    if compiled(rendered, target):
        return Dssim.apply(rendered, target)
    a, b = rendered.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2)
    return 1 - ssim_map(a, b).permute(0, 2, 3, 1)


def ssim_map(
    a: Float[Tensor, "B C H W"], b: Float[Tensor, "B C H W"], size: int = 11, sigma: float = 1.5
) -> Float[Tensor, "B C H W"]:
    """SSIM (Wang et al. 2004) with a Gaussian window and zero padding, as in 3DGS. Range of values: 1.

    The window is separable: two 1D passes over the five products at once. Each picture is a channel and a group of its
    own: such convolutions stay in float32 on a GPU, too, where variances would drown in the digits that TF32 drops.
    """
    x = torch.arange(size, dtype=a.dtype, device=a.device) - size // 2
    window = torch.exp(-(x * x) / (2 * sigma * sigma))
    window = window / window.sum()
    batch, channels, height, width = a.shape
    stack = torch.stack([a, b, a * a, b * b, a * b]).reshape(1, -1, height, width)
    count = stack.shape[1]
    kernels = window.expand(count, 1, size)
    blurred = conv2d(stack, kernels[..., None], padding=(size // 2, 0), groups=count)
    blurred = conv2d(blurred, kernels[:, :, None], padding=(0, size // 2), groups=count)
    mean_a, mean_b, aa, bb, ab = blurred.reshape(5, batch, channels, height, width)
    var_a, var_b, cov = aa - mean_a * mean_a, bb - mean_b * mean_b, ab - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_a * mean_b + c1) * (2 * cov + c2)) / (
        (mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2)
    )
