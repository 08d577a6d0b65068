"""A drawn person's silhouette against the true one."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
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
    alpha: Float[Tensor, "H W"], matte: Float[Tensor, "H W"], crop: tuple[slice, slice] = EVERYWHERE
) -> Silhouettes:
    """What is drawn (opacity above a half) against the truth's matte, in a part of the picture.

    An outline that is off by `EDGE` pixels is neither hole nor spike.
    """
    inside, covered = (matte > 0.5).float(), alpha > 0.5
    grown, shrunk = _grown(inside), 1 - _grown(1 - inside)
    area = inside[crop].sum().clamp_min(1)
    holes = (~covered & (shrunk > 0.5))[crop].sum() / area
    spikes = (covered & (grown < 0.5))[crop].sum() / area
    both, either = (covered & (inside > 0.5))[crop].sum(), (covered | (inside > 0.5))[crop].sum()
    return Silhouettes(float(holes), float(spikes), float(both / either.clamp_min(1)))


def _grown(mask: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    return max_pool2d(mask[None, None], 2 * EDGE + 1, 1, EDGE)[0, 0]
