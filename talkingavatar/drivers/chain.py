"""Drivers in a row, such as speech to actions to motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.drivers.driver import Driver, Heard, Prompt


@final
class Chain(Driver):
    """Each driver hears the sound and what the one before it foretold; the last one's motion is the chain's."""

    def __init__(self, drivers: Sequence[Driver]) -> None:
        self.drivers = list(drivers)
        self.space, self.card = self.drivers[-1].space, self.drivers[-1].card
        self.lookahead = sum(driver.lookahead for driver in self.drivers)
        self.takes = frozenset().union(*(driver.takes for driver in self.drivers))
        self.draws = any(driver.draws for driver in self.drivers)

    @property
    def scale(self) -> Float[Tensor, " P"]:
        return self.drivers[-1].scale

    def sample(self, heard: Heard, prompt: Prompt, seed: int, count: int = 1) -> Float[Tensor, "count T P"]:
        return torch.stack([self._one(heard, prompt, seed + k) for k in range(count)])

    def _one(self, heard: Heard, prompt: Prompt, seed: int) -> Float[Tensor, "T P"]:
        for driver in self.drivers:
            motion = driver.sample(heard, prompt.only(driver.takes), seed)[0]
            heard = replace(heard, motion=motion)
        return motion
