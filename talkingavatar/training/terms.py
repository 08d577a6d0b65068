"""Weighted losses to one number, and what is logged of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.config.schema import LossTermConfig
from talkingavatar.training.shared import mean_over_processes

TOTAL = "loss/total"


class Scalars:
    """Numbers of one step by name. They stay where they were made until read: then the host waits for a GPU."""

    def __init__(
        self, names: tuple[str, ...], tensor: Float[Tensor, " n"], step: int, known: Mapping[str, float] | None = None
    ) -> None:
        """`known`: further ones, of the host."""
        self.names, self.tensor, self.step, self.known = names, tensor, step, dict(known or {})

    def under(self, prefix: str) -> Scalars:
        """The same, a prefix before each name."""
        return Scalars(tuple(prefix + name for name in self.names), self.tensor, self.step, self.known)

    def read(self) -> dict[str, float]:
        """
        Raises:
            RuntimeError: the loss is not finite; training on would only hide where that began.
        """
        found = dict(zip(self.names, self.tensor.tolist(), strict=True))
        for name, value in found.items():
            if name.endswith(TOTAL) and not math.isfinite(value):
                raise RuntimeError(f"the loss is {value} at step {self.step}: {found}")
        return self.known | found


NONE = Scalars((), torch.zeros(0), 0)  # before the first step


def weighted(
    values: Mapping[str, Float[Tensor, ""]], rows: Mapping[str, LossTermConfig], step: int
) -> tuple[Float[Tensor, ""], Scalars]:
    """The weighted sum of losses; each and the total as `loss/<name>`, their mean where processes share a step.

    Raises:
        RuntimeError: on a CPU, the sum is not finite; on a GPU that shows when the scalars are read.
    """
    total = torch.zeros((), device=next(iter(values.values())).device if values else None)
    for name, value in values.items():
        total = total + rows[name].weight * value
    shared = mean_over_processes(torch.stack([*values.values(), total]).detach())
    scalars = Scalars(tuple(f"loss/{name}" for name in (*values, "total")), shared, step)
    if shared.device.type == "cpu":
        scalars.read()
    return total, scalars
