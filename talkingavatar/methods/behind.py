"""Gaussians that are drawn deeper than they lie, so that what is before them hides them.

Splats are drawn in the order of their centres, and a disc is flat where what it covers is not: one on a tooth stands
out of the cheek beside the mouth, and is drawn over it where its centre is nearer than the cheek's are.
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.types import Gaussians


def set_behind(gaussians: Gaussians, rows: Int[Tensor, " n"], eye: Float[Tensor, "1 3"], metres: float) -> Gaussians:
    """Some of them farther from the eye by so much and as much larger: in the picture they are where they were."""
    means, scales = gaussians.means[rows], gaussians.scales[rows]
    sight = means - eye
    share = metres / sight.norm(dim=1, keepdim=True)
    return replace(
        gaussians,
        means=gaussians.means.index_copy(0, rows, means + share * sight),
        scales=gaussians.scales.index_copy(0, rows, scales * (1 + share)),
    )
