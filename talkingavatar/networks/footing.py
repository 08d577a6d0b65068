"""Where on a body each Gaussian stands: of which vertices it takes what is told by vertex."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEAR, FAR = 6e-3, 15e-3  # metres from the skin up to which a Gaussian deforms with it wholly, and not at all


class Footing(NamedTuple):
    """The vertices of each Gaussian and how much it has of each: one vertex whole, or a place in a triangle."""

    corners: Int[Tensor, "N K"]
    shares: Float[Tensor, "N K"]  # sum to one; no gradient goes to them

    @staticmethod
    def on(vertex: Int[Tensor, " N"]) -> Footing:
        """Each on its vertex."""
        return Footing(vertex[:, None], torch.ones(len(vertex), 1, device=vertex.device))

    def at(self, some: slice) -> Footing:
        """Of some of the Gaussians."""
        return Footing(self.corners[some], self.shares[some])

    def of(self, values: Float[Tensor, "V C"]) -> Float[Tensor, "N C"]:
        """What each Gaussian takes of the vertices' values."""
        if self.corners.shape[1] == 1:
            return values[self.corners[:, 0]]
        learned = values.requires_grad and torch.is_grad_enabled()
        if values.device.type == "cpu" and values.dtype == torch.float32 and not learned:
            from talkingavatar.networks.cpu.footing import taken_cpu

            return taken_cpu(*self, values)
        return (self.shares[..., None] * values[self.corners]).sum(1)


NOWHERE = Footing(torch.zeros(0, 1, dtype=torch.long), torch.zeros(0, 1))
