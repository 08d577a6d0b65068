"""From a motion latent to the parameters of a rig: VASA-3D's M_e and M_p (methods C.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

HIDDEN, LAYERS = 256, 3  # as published
RIDGE = 1e-2  # of the warm start, in the codes' mean square
SINGLE = 0.03  # weight of all single moves in the warm start, in that of all frames

Pairs = tuple[Float[Tensor, "M D"], Float[Tensor, "M P"]]


class LatentMapper(nn.Module):
    """Three hidden layers beside a linear way; both take codes in their own standard deviations.

    Begun warm, the linear way is the least squares of what is known of some frames and the layers add nothing; begun
    from scratch, as published, it is their mean, and the layers start at random. Frames of a face that always raises
    its brows when it smiles do not tell one from the other: single moves do.
    """

    mean: Tensor
    std: Tensor
    spread: Tensor

    def __init__(
        self, codes: Float[Tensor, "T D"], values: Float[Tensor, "T P"], warm: bool, moves: Pairs | None = None
    ) -> None:
        """
        Args:
            codes: with the rig's `values` of the same frames.
            moves: by how much codes and values change where the rig does one thing alone.
        """
        super().__init__()
        self.register_buffer("mean", codes.mean(0))
        self.register_buffer("std", codes.std(0).clamp_min(1e-3))
        self.register_buffer("spread", values.std(0).clamp_min(1e-3))
        self.linear = nn.Linear(codes.shape[1], values.shape[1])
        widths = [codes.shape[1], *[HIDDEN] * LAYERS]
        hidden = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
        self.last = nn.Linear(HIDDEN, values.shape[1])
        self.layers = nn.Sequential(*hidden)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.copy_(values.mean(0))
            if warm:
                self._start(self._scaled(codes), values - values.mean(0), moves)

    def _start(self, codes: Float[Tensor, "T D"], values: Float[Tensor, "T P"], moves: Pairs | None) -> None:
        alike, told = codes.T @ codes + RIDGE * len(codes) * torch.eye(codes.shape[1]), codes.T @ values
        if moves is not None:
            moved, share = moves[0] / self.std, SINGLE * len(codes) / len(moves[0])
            alike, told = alike + share * moved.T @ moved, told + share * moved.T @ moves[1]
        self.linear.weight.copy_(torch.linalg.solve(alike, told).T)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, codes: Float[Tensor, "T D"]) -> Float[Tensor, "T P"]:
        scaled = self._scaled(codes)
        return self.linear(scaled) + self.spread * self.last(self.layers(scaled))

    def _scaled(self, codes: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
        return (codes - self.mean) / self.std


def principal_steps(codes: Float[Tensor, "T D"], count: int) -> Float[Tensor, "L D"]:
    """The `count` widest of their principal axes, a standard deviation long; their largest number is positive."""
    _, widths, axes = torch.linalg.svd(codes - codes.mean(0), full_matrices=False)
    steps = (axes * widths[:, None] / len(codes) ** 0.5)[:count]
    return steps * axes[:count].gather(1, axes[:count].abs().argmax(1, keepdim=True)).sign()
