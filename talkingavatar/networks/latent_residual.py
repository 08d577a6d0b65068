"""What a motion latent does to each Gaussian beyond its rig: VASA-3D's D_e and D_p (methods C.2)."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.networks.kept import Kept
from talkingavatar.networks.residual import PLACED, encoded, silent_layers

ATTRIBUTES = {"means": 3, "quats": 4, "scales": 3, "sh": 3, "opacities": 1}
WIDTH = 64
BASIS = 16  # directions of a Gaussian's change
FAINT = 0.01  # of the widest direction's mean square: others of so little count by half
OWN = 8  # numbers that each Gaussian learns for itself
BEYOND = 1.25  # times what the frames excite of a number of the code, up to which it is followed


def by_attribute(changes: Float[Tensor, "N C"]) -> dict[str, Float[Tensor, "N _"]]:
    """In raw units (means: of what carries them); `sh` is the constant colour's."""
    return dict(zip(ATTRIBUTES, changes.split(list(ATTRIBUTES.values()), 1), strict=True))


class LatentResidual(nn.Module):
    """Changes of raw attributes; none at the start.

    As a network (published), each Gaussian's place and own numbers are read with the code. As a basis, they give each
    Gaussian a few directions, and the code says in proportion how far along each: while nothing is learned, they are
    kept, and a frame costs one product. A network in place of the proportion knows its frames by heart and
    fails on others. Of a code far beyond those of the frames nobody knows what it does: it does no more than they.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, codes: Float[Tensor, "T D"], basis: bool) -> None:
        """`codes` of some frames, for their mean and standard deviation."""
        super().__init__()
        self.register_buffer("mean", codes.mean(0))
        self.register_buffer("std", codes.std(0).clamp_min(1e-3))
        scaled = (codes - self.mean) / self.std
        self.register_buffer("low", BEYOND * scaled.amin(0))
        self.register_buffer("high", BEYOND * scaled.amax(0))
        given, out = PLACED + OWN, sum(ATTRIBUTES.values())
        self.basis = basis
        if basis:
            self.amounts = _excited(scaled)
        self.network = silent_layers(given if basis else given + codes.shape[1], WIDTH, out * BASIS if basis else out)
        self._directions = Kept[Tensor]()

    def forward(
        self, places: Float[Tensor, "N 3"], own: Float[Tensor, "N O"], code: Float[Tensor, " D"]
    ) -> Float[Tensor, "N C"]:
        """Changes in a row a Gaussian, to be taken apart by `by_attribute`.

        Args:
            places: where the Gaussians lie at rest, in [-1, 1].
        """
        scaled = self._scaled(code)
        if self.basis:
            directions = self._directions.get(lambda: self._made(places, own), places, own, *self.network.parameters())
            return (self.amounts(scaled[None]) @ directions).reshape(len(own), -1)
        return cast(Tensor, self.network(torch.cat([encoded(places), own, scaled.expand(len(own), -1)], 1)))

    def along(self, codes: Float[Tensor, "T D"]) -> Float[Tensor, "T K"]:
        """How far along each direction of the basis."""
        return cast(Tensor, self.amounts(self._scaled(codes)))

    def directions(self, places: Float[Tensor, "N 3"], own: Float[Tensor, "N O"]) -> Float[Tensor, "N C K"]:
        """Of the basis."""
        return self._made(places, own).unflatten(1, (len(own), -1)).permute(1, 2, 0).contiguous()

    def _scaled(self, code: Float[Tensor, "*T D"]) -> Float[Tensor, "*T D"]:
        return ((code - self.mean) / self.std).clamp(self.low, self.high)

    def _made(self, places: Float[Tensor, "N 3"], own: Float[Tensor, "N O"]) -> Float[Tensor, "K NC"]:
        """Each direction of all Gaussians in a row, so that a frame's is one matrix product."""
        made = self.network(torch.cat([encoded(places), own], 1)).unflatten(1, (BASIS, -1))
        return made.transpose(0, 1).flatten(1).contiguous()


def _excited(codes: Float[Tensor, "T D"]) -> nn.Linear:
    """The codes' widest directions: what they do not excite is not answered with chance."""
    amounts = nn.Linear(codes.shape[1], BASIS, bias=False)
    strength, axes = torch.linalg.eigh(codes.T @ codes)
    heard = strength / (strength + FAINT * strength[-1]).clamp_min(1e-12)
    with torch.no_grad():
        amounts.weight.zero_()
        amounts.weight[: len(heard)] = (axes * heard).flip(1).T[:BASIS]
    return amounts
