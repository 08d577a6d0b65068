"""Learnable Expression Blendshapes (THGS eqs 8, 9)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Norm = Literal["fro", "mse", "sumsq"]


class LearnableExpressionBlendshapes(nn.Module):
    """B(psi) = sum_n psi_n (E + dE * M_H)_n: the generic expression basis plus a personal residual on the head.

    The residual is stored on the masked vertices only, the basis on those it moves.
    """

    basis: Tensor
    moving: Tensor
    rows: Tensor

    def __init__(self, basis: Float[Tensor, "V 3 E"], head: Bool[Tensor, " V"]) -> None:
        super().__init__()
        moving = basis.flatten(1).any(1).nonzero()[:, 0]
        self.register_buffer("basis", basis[moving], persistent=False)
        self.register_buffer("moving", moving, persistent=False)
        self.register_buffer("rows", head.nonzero()[:, 0], persistent=False)
        self.vertices = len(basis)
        self.residual = nn.Parameter(torch.zeros(int(head.sum()), *basis.shape[1:], dtype=basis.dtype))

    def forward(self, expression: Float[Tensor, " E"], personal: bool = True) -> Float[Tensor, "V 3"]:
        """Vertex offsets in metres; `personal=False` leaves the residual out (not yet started, or the ablation)."""
        offsets = self.basis.new_zeros(self.vertices, 3).index_add(0, self.moving, self.basis @ expression)
        if not personal:
            return offsets
        return offsets.index_add(0, self.rows, self.residual @ expression)

    def norm(self, kind: Norm = "fro") -> Float[Tensor, ""]:
        """Size of the residual; the root form has an epsilon because its gradient at zero is undefined."""
        squares = self.residual.square()
        if kind == "mse":
            return squares.mean()
        return squares.sum() if kind == "sumsq" else (squares.sum() + 1e-12).sqrt()
