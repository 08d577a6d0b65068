"""Changes of many Gaussians as a few directions, and how far along each from a few of the Gaussians alone."""

from __future__ import annotations

from typing import NamedTuple

import scipy.linalg
import torch
from jaxtyping import Float, Int
from torch import Tensor


class LowRank(NamedTuple):
    """The widest directions of some frames' changes (principal orthogonal decomposition, without a mean).

    A network that makes the changes need be asked for the `sampled` rows only: where they have gone tells of all
    (Q-DEIM, Drmac and Gugercin 2016; each row gives C equations, so that there are more of them than unknowns).
    """

    basis: Float[Tensor, "n C R"]
    sampled: Int[Tensor, " s"]  # rows
    solve: Float[Tensor, "R sC"]  # from their changes to how far along each direction
    kept: float  # share of the changes' mean square

    def coefficients(self, changes: Float[Tensor, "T s C"]) -> Float[Tensor, "T R"]:
        """Of changes of the sampled rows, in T frames."""
        return changes.flatten(1) @ self.solve.mT


def low_rank(changes: Float[Tensor, "T n C"], sizes: Float[Tensor, "n C"], energy: float) -> LowRank | None:
    """As many directions as have this share of the frames' mean square; None where nothing changes.

    Args:
        sizes: what counts as one of each number.
    """
    count, columns = sizes.shape
    scaled = (changes / sizes).flatten(1)
    strength, axes = torch.linalg.eigh((scaled @ scaled.T).double())
    strength, axes = strength.flip(0).clamp_min(0), axes.flip(1)
    if not strength[0] > 0:
        return None
    share = strength.cumsum(0) / strength.sum()
    rank = int((share < energy).sum()) + 1
    directions = (scaled.T.double() @ axes[:, :rank]) / strength[:rank].sqrt()
    pivots = scipy.linalg.qr(directions.T.cpu().numpy(), mode="r", pivoting=True)[1][:rank]
    sampled = torch.from_numpy(pivots // columns).unique().to(changes.device)
    seen = directions.unflatten(0, (count, columns))[sampled].flatten(0, 1)
    solve = torch.linalg.pinv(seen) / sizes[sampled].flatten()
    basis = directions.unflatten(0, (count, columns)) * sizes[..., None]
    return LowRank(basis.float(), sampled, solve.float(), float(share[rank - 1]))
