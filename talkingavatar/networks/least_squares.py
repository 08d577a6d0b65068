"""A linear map that is fitted, not trained."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

RIDGE = 1e-2  # in the values' mean square


class LeastSquares(nn.Module):
    """What numbers of some frames tell of others; values are taken in their own standard deviations."""

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, values: Float[Tensor, "T P"], wanted: Float[Tensor, "T D"]) -> None:
        super().__init__()
        mean, std, bias = values.mean(0), values.std(0).clamp_min(1e-3), wanted.mean(0)
        scaled = (values - mean) / std
        alike = scaled.T @ scaled + RIDGE * len(scaled) * torch.eye(scaled.shape[1])
        weight = torch.linalg.solve(alike, scaled.T @ (wanted - bias))
        for name, value in {"mean": mean, "std": std, "weight": weight, "bias": bias}.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, values: Float[Tensor, "B P"]) -> Float[Tensor, "B D"]:
        return (values - self.mean) / self.std @ self.weight + self.bias
