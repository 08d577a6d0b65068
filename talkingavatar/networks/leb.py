"""Learnable Expression Blendshapes (THGS eqs 8, 9)."""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

LEAST = 0.05  # of the strongest direction's strength: weaker ones are not learned along
Norm = Literal["fro", "mse", "sumsq"]


class LearnableExpressionBlendshapes(nn.Module):
    """B(psi) = sum_n psi_n (E + dE * M_H)_n: the generic expression basis plus a personal residual on the head.

    The residual is stored on the masked vertices only, the basis on those it moves. It is learned along what excites it
    (`exciting`): an optimiser that moves every number alike, as Adam does, would else fill the others with noise, and a
    smile of one cheek would be what no frame has shown.
    """

    basis: Tensor
    moving: Tensor
    rows: Tensor
    exciting: Tensor

    def __init__(
        self, basis: Float[Tensor, "V 3 E"], head: Bool[Tensor, " V"], exciting: Float[Tensor, "E K"] | None = None
    ) -> None:
        """`exciting`: what K coordinates of the residual each are of the coefficients; None: these themselves."""
        super().__init__()
        moving = basis.flatten(1).any(1).nonzero()[:, 0]
        self.register_buffer("basis", basis[moving], persistent=False)
        self.register_buffer("moving", moving, persistent=False)
        self.register_buffer("rows", head.nonzero()[:, 0], persistent=False)
        self.vertices = len(basis)
        exciting = torch.eye(basis.shape[2], dtype=basis.dtype) if exciting is None else exciting
        self.register_buffer("exciting", exciting)
        self.residual = nn.Parameter(torch.zeros(int(head.sum()), 3, exciting.shape[1], dtype=basis.dtype))

    def forward(self, expression: Float[Tensor, " E"], personal: bool = True) -> Float[Tensor, "V 3"]:
        """Vertex offsets in metres; `personal=False` leaves the residual out (not yet started, or the ablation)."""
        offsets = self.basis.new_zeros(self.vertices, 3).index_add(0, self.moving, self.basis @ expression)
        if not personal:
            return offsets
        return offsets.index_add(0, self.rows, self.residual @ (expression @ self.exciting))

    def directions(self, personal: bool = True) -> Float[Tensor, "V 3 E"]:
        """Vertex offsets of each coefficient at 1."""
        found = self.basis.new_zeros(self.vertices, *self.basis.shape[1:]).index_add(0, self.moving, self.basis)
        return found.index_add(0, self.rows, self.residual @ self.exciting.mT) if personal else found

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: Any) -> None:
        """What was learned keeps its directions: a capture whose faces are read otherwise by now excites others."""
        saved = state_dict.setdefault(f"{prefix}exciting", self.exciting)  # files of before have none
        if saved.shape != self.exciting.shape and saved.shape[:-1] == self.exciting.shape[:-1]:
            self.exciting = torch.zeros_like(saved, device=self.exciting.device)
            vertices, axes, _ = self.residual.shape
            self.residual = nn.Parameter(self.residual.new_zeros(vertices, axes, saved.shape[-1]))
        super()._load_from_state_dict(state_dict, prefix, *others)

    def norm(self, kind: Norm = "fro") -> Float[Tensor, ""]:
        """Size of the residual; the root form has an epsilon because its gradient at zero is undefined."""
        squares = self.residual.square()
        if kind == "mse":
            return squares.mean()
        return squares.sum() if kind == "sumsq" else (squares.sum() + 1e-12).sqrt()


def excited(expressions: Float[Tensor, "T E"]) -> Float[Tensor, "E K"]:
    """Principal directions of some frames' coefficients, each as long as it is strong beside the strongest.

    The weakest are left out: a tracker's noise is there, no motion.
    """
    _, strengths, directions = torch.linalg.svd(expressions, full_matrices=False)
    strengths = strengths / strengths[0].clamp_min(1e-12)
    kept = strengths > LEAST
    return directions[kept].mT * strengths[kept]
