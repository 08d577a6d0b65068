"""A drawn person's silhouette against the true one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import max_pool2d

EDGE = 2  # pixels by which an outline may be off
EVERYWHERE = (slice(None), slice(None))


class Silhouettes(NamedTuple):
    """Shares of the true silhouette."""

    holes: float  # open within it
    spikes: float  # covered outside of it
    overlap: float  # intersection over union, to the pixel


def silhouettes(
    alpha: Float[Tensor, "H W"],
    matte: Float[Tensor, "H W"],
    crop: tuple[slice, slice] = EVERYWHERE,
    around: Float[Tensor, "H W"] | None = None,
) -> Silhouettes:
    """What is drawn (opacity above a half) against the truth's matte, in a part of the picture.

    An outline that is off by `EDGE` pixels is neither hole nor spike.

    Args:
        around: what may be covered, where that is more than the matte.
    """
    inside, covered = (matte > 0.5).float(), alpha > 0.5
    grown, shrunk = _grown(inside if around is None else (around > 0.5).float()), 1 - _grown(1 - inside)
    area = inside[crop].sum().clamp_min(1)
    holes = (~covered & (shrunk > 0.5))[crop].sum() / area
    spikes = (covered & (grown < 0.5))[crop].sum() / area
    both, either = (covered & (inside > 0.5))[crop].sum(), (covered | (inside > 0.5))[crop].sum()
    return Silhouettes(float(holes), float(spikes), float(both / either.clamp_min(1)))


def within(mask: Float[Tensor, "H W"], pixels: float) -> Float[Tensor, "H W"]:
    """1 where a mask is at most so far away, 0 elsewhere."""
    return torch.from_numpy(distance_transform_edt((mask < 0.5).numpy()) <= pixels).float()


def _grown(mask: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    return max_pool2d(mask[None, None], 2 * EDGE + 1, 1, EDGE)[0, 0]
