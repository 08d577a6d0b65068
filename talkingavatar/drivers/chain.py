"""Drivers in a row, such as speech to actions to motion, or a mouth and then the manner that goes with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.drivers.driver import Driver, DriverStream, Heard, Prompt
from talkingavatar.drivers.space import MotionSpace, RigParameters, SignalField, Together, is_units
from talkingavatar.drivers.unit_edit import UnitEdit


@final
class Chain(Driver):
    """Each driver hears the sound and what the one before it foretold.

    Action units that one foretells, with the prompt's edit in them, are heard by all after it that are prompted by
    them. The last one's motion is the chain's; where each foretells something else, all of it together.
    """

    def __init__(self, drivers: Sequence[Driver]) -> None:
        self.drivers = list(drivers)
        self.card = self.drivers[-1].card
        self.space, self._columns = _together([driver.space for driver in self.drivers])
        self.lookahead = sum(driver.lookahead for driver in self.drivers)
        self.takes = frozenset().union(*(driver.takes for driver in self.drivers))
        if any(driver.prompted for driver in self.drivers):
            self.takes |= {"edit"}
        self.draws = any(driver.draws for driver in self.drivers)

    @property
    def scale(self) -> Float[Tensor, " P"]:
        return torch.cat([driver.scale for driver in self.drivers])[self._columns]

    def sample(self, heard: Heard, prompt: Prompt, seed: int, count: int = 1) -> Float[Tensor, "count T P"]:
        return torch.stack([self._one(heard, prompt, seed + k) for k in range(count)])

    def _one(self, heard: Heard, prompt: Prompt, seed: int) -> Float[Tensor, "T P"]:
        motions = []
        for driver in self.drivers:
            motion = driver.sample(heard, prompt.only(driver.takes), seed)[0]
            if is_units(driver.space):
                motion = motion if prompt.edit is None else prompt.edit.applied(motion)
                heard = replace(heard, units=motion)
            motions.append(motion)
            heard = replace(heard, motion=motion)
        return self.joined(torch.cat(motions, 1))

    def joined(self, motions: Float[Tensor, "n Q"]) -> Float[Tensor, "n P"]:
        """The chain's own of all its drivers' numbers, one after the other."""
        return motions[:, self._columns]

    def stream(self, prompt: Prompt) -> ChainStream | None:
        self.refuse(prompt)
        streams = [driver.stream(prompt.only(driver.takes)) for driver in self.drivers]
        live = [stream for stream in streams if stream is not None]
        return ChainStream(self, live, prompt.edit) if len(live) == len(streams) else None


class ChainStream:
    """Frames of all drivers, as soon as the last of them is certain of them; the same as for the whole sound."""

    def __init__(self, chain: Chain, streams: Sequence[DriverStream], edit: UnitEdit | None) -> None:
        self.chain, self.streams, self.edit = chain, list(streams), edit
        self.waiting = [driver.scale.new_zeros(0, len(driver.space.names)) for driver in chain.drivers]
        self.units = 0  # frames of them that have come

    def push(self, samples: Float[ndarray, " N"], *prompts: Float[Tensor, "u 17"]) -> Float[Tensor, "n P"]:
        return self._advance(lambda stream, *units: stream.push(samples, *units))

    def finish(self, frames: int | None = None, *prompts: Float[Tensor, "u 17"]) -> Float[Tensor, "n P"]:
        return self._advance(lambda stream, *units: stream.finish(frames, *units))

    def _advance(self, ask: Callable[..., Tensor]) -> Float[Tensor, "n P"]:
        units: list[Tensor] = []
        for number, (driver, stream) in enumerate(zip(self.chain.drivers, self.streams, strict=True)):
            come = ask(stream, *(units if driver.prompted else []))
            if is_units(driver.space):
                come = come if self.edit is None else self.edit.applied(come, self.units)
                units, self.units = [come], self.units + len(come)
            self.waiting[number] = torch.cat([self.waiting[number], come])
        count = min(len(rows) for rows in self.waiting)
        made = torch.cat([rows[:count] for rows in self.waiting], 1)
        self.waiting = [rows[count:] for rows in self.waiting]
        return self.chain.joined(made)


def _together(spaces: Sequence[MotionSpace]) -> tuple[MotionSpace, list[int]]:
    """Where a chain's motion lies, and which of all its drivers' numbers, one after the other, it is."""
    names = [name for space in spaces for name in space.names]
    if len(set(names)) < len(names):
        return spaces[-1], list(range(len(names) - len(spaces[-1].names), len(names)))
    rigs = [space for space in spaces if isinstance(space, RigParameters)]
    parts = [part for rig in rigs for part in rig.parts.parts]
    each: list[RigParameters | SignalField] = [RigParameters(rigs[0].body, parts)] if rigs else []
    each += [space for space in spaces if isinstance(space, SignalField)]
    whole: MotionSpace = each[0] if len(each) == 1 else Together(each)
    return whole, [names.index(name) for name in whole.names]
