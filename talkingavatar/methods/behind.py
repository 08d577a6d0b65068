"""Gaussians that are drawn deeper than they lie, so that what is before them hides them.

Splats are drawn in the order of their centres, and a disc is flat where what it covers is not: one on a tooth stands
out of the cheek beside the mouth, and is drawn over it where its centre is nearer than the cheek's are.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.types import Gaussians


def set_behind(gaussians: Gaussians, rows: Int[Tensor, " n"], eye: Float[Tensor, "1 3"], metres: float) -> Gaussians:
    """Some of them farther from the eye by so much and as much larger: in the picture they are where they were.

    Gradients pass as if nothing were moved, off by a hundredth: a copy of all Gaussians less in the backward pass.
    """
    with torch.no_grad():
        sight = gaussians.means[rows] - eye
        share = metres / sight.norm(dim=1, keepdim=True)
        farther, larger = share * sight, share * gaussians.scales[rows]
    means, scales = gaussians.means.index_add(0, rows, farther), gaussians.scales.index_add(0, rows, larger)
    return replace(gaussians, means=means, scales=scales)
