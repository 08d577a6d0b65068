"""How far the fitted body's points are from the detected ones (THGS table 7)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from talkingavatar.preprocessing.alignment.observations import GROUPS, LIPS, Observations


@dataclass(frozen=True)
class Distances:
    """Mean distances over confident points, pixels; NaN where the clip shows none."""

    hand: float
    body: float
    face: float
    lips: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def distances(projected: Float[Tensor, "T 137 2"], observations: Observations) -> Distances:
    """Of points given as in `Observations.target`."""
    apart = (projected - observations.target).norm(dim=-1) * observations.long_side
    groups = {**GROUPS, "lips": (LIPS,)}
    means = {}
    for name, rows in groups.items():
        chosen: Bool[Tensor, " 137"] = torch.zeros(apart.shape[1], dtype=torch.bool)
        for row in rows:
            chosen[row] = True
        means[name] = apart[observations.seen & chosen].mean().item()
    return Distances(**means)
