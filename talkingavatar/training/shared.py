"""Steps that several processes share: each sees some of a step's frames, all end with the same weights.

Lightning's own wrapper would hold on to the parameters it was given; density control replaces them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor


class SharedSteps(DDPStrategy):
    """Processes that begin with the same weights; the module itself averages its gradients (`average_gradients`)."""

    def configure_ddp(self) -> None:
        assert self.model is not None
        for tensor in self.model.state_dict().values():
            dist.broadcast(tensor, 0)


def processes() -> int:
    """That share each step."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def seed_step(seed: int, step: int, rank: int = 0, world: int = 1) -> None:
    """The step alone decides every random number in it, so that resuming needs no generator's state.

    With a rank, each of `world` processes draws its own; without, all draw the same.
    """
    torch.manual_seed((seed * 1_000_003 + step) * world + rank)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Each gradient becomes its mean over the processes."""
    if processes() == 1:
        return
    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= processes()


def gathered(values: Tensor, axis: int) -> Tensor:
    """The values of all processes along an axis, in the order of their ranks."""
    if processes() == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(processes())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts, axis)


def mean_over_processes(values: Tensor) -> Tensor:
    """For the journal: what one process would have counted."""
    if processes() > 1:
        dist.all_reduce(values)
        values /= processes()
    return values
