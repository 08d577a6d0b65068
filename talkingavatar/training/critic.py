"""A loss that learns: trained against the method, a step of its own after each of the method's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Critic:
    """What the method's step leaves alone, and what is stepped after it.

    Its network is a submodule of the method, so that checkpoints hold it; its moments lie with the method's optimisers.
    """

    groups: tuple[str, ...]  # its parameter groups, in the method's schedule like all others
    loss: Callable[[], Float[Tensor, ""]]  # of its own, on what the step just taken has drawn; gradients stay in it
