"""Drivers in a row, such as speech to actions to motion, or a mouth and then the manner that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.drivers.driver import Driver, Heard, Prompt
from talkingavatar.drivers.space import MotionSpace, RigParameters


@final
class Chain(Driver):
    """Each driver hears the sound and what the one before it foretold.

    The last one's motion is the chain's; where each foretells other parts of a pose, all of them together.
    """

    def __init__(self, drivers: Sequence[Driver]) -> None:
        self.drivers = list(drivers)
        self.card = self.drivers[-1].card
        self.space, self._columns = _together([driver.space for driver in self.drivers])
        self.lookahead = sum(driver.lookahead for driver in self.drivers)
        self.takes = frozenset().union(*(driver.takes for driver in self.drivers))
        self.draws = any(driver.draws for driver in self.drivers)

    @property
    def scale(self) -> Float[Tensor, " P"]:
        return torch.cat([driver.scale for driver in self.drivers])[self._columns]

    def sample(self, heard: Heard, prompt: Prompt, seed: int, count: int = 1) -> Float[Tensor, "count T P"]:
        return torch.stack([self._one(heard, prompt, seed + k) for k in range(count)])

    def _one(self, heard: Heard, prompt: Prompt, seed: int) -> Float[Tensor, "T P"]:
        motions = []
        for driver in self.drivers:
            motions.append(driver.sample(heard, prompt.only(driver.takes), seed)[0])
            heard = replace(heard, motion=motions[-1])
        return torch.cat(motions, 1)[:, self._columns]


def _together(spaces: Sequence[MotionSpace]) -> tuple[MotionSpace, list[int]]:
    """Where a chain's motion lies, and which of all its drivers' numbers, one after the other, it is."""
    names = [name for space in spaces for name in space.names]
    rigs = [space for space in spaces if isinstance(space, RigParameters)]
    if len(rigs) == len(spaces) and len(set(names)) == len(names):
        whole = RigParameters(rigs[0].body, [part for rig in rigs for part in rig.parts.parts])
        return whole, [names.index(name) for name in whole.names]
    return spaces[-1], list(range(len(names) - len(spaces[-1].names), len(names)))
