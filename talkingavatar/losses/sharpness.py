"""Edges: pictures that are told apart by them, and pictures that are made crisper."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

SCALES = 3
STRONGEST = (
    5.0  # one over the weight of a neighbour where contrast is low: the sharpest setting of the published filter
)


def edge_difference(rendered: Float[Tensor, "B H W C"], target: Float[Tensor, "B H W C"]) -> Float[Tensor, " B"]:
    """Absolute differences of the gradients of two pictures along both axes, mean over three scales.

    What stands in for a perceptual network where none is to be had: blur counts, a shift of brightness does not.
    """
    apart, total = (rendered - target).permute(0, 3, 1, 2), rendered.new_zeros(len(rendered))
    for _ in range(SCALES):
        across, down = apart.diff(dim=3).abs().mean((1, 2, 3)), apart.diff(dim=2).abs().mean((1, 2, 3))
        total = total + across + down
        apart = avg_pool2d(apart, 2)
    return total / SCALES


def sharpened(picture: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B H W 3"]:
    """Contrast-adaptive sharpening: each pixel less its four neighbours, the less the more contrast is there already.

    Source: AMD FidelityFX CAS, at its strongest setting.
    """
    padded = pad(picture.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")
    centre = padded[..., 1:-1, 1:-1]
    cross = torch.stack([padded[..., :-2, 1:-1], padded[..., 2:, 1:-1], padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]])
    low, high = torch.minimum(cross.amin(0), centre), torch.maximum(cross.amax(0), centre)
    room = torch.minimum(low, 1 - high) / high.clamp_min(1e-5)
    weight = -room.clamp(0, 1).sqrt() / STRONGEST
    made = (centre + weight * cross.sum(0)) / (1 + 4 * weight)
    return made.clamp(0, 1).permute(0, 2, 3, 1)
