"""Weighted losses to one number, and what is logged of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.config.schema import LossTermConfig
from talkingavatar.training.shared import mean_over_processes


def weighted(
    values: Mapping[str, Float[Tensor, ""]], rows: Mapping[str, LossTermConfig], step: int
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """The weighted sum of losses; each and the total as `loss/<name>`, their mean where processes share a step.

    Raises:
        RuntimeError: the sum is not finite; training on would only hide where that began.
    """
    total = torch.zeros((), device=next(iter(values.values())).device if values else None)
    for name, value in values.items():
        total = total + rows[name].weight * value
    shared = mean_over_processes(torch.stack([*values.values(), total]).detach()).tolist()
    scalars = {f"loss/{name}": value for name, value in zip((*values, "total"), shared, strict=True)}
    if not math.isfinite(scalars["loss/total"]):
        raise RuntimeError(f"the loss is {scalars['loss/total']} at step {step}: {scalars}")
    return total, scalars
