"""What foretells motion from sound, whatever it is inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.config.family_options import DriverOptions
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.motion_clips import MotionClip, Stretch
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.space import MotionSpace
from talkingavatar.drivers.training import DriverTraining, RenderTerm
from talkingavatar.drivers.unit_edit import UnitEdit
from talkingavatar.errors import UserError
from talkingavatar.types import DrivingSignal


@dataclass(frozen=True)
class Heard:
    """T frames of what a driver foretells from."""

    fps: float
    samples: Float[ndarray, " N"]  # the sound, 16 kHz mono
    features: Float[Tensor, "T 16 C"]  # of the kind the run was fitted with
    shots: Sequence[Stretch] = ()  # (start, stop) of each, that hear nothing of each other; none means one
    wanted: list[int] | None = None  # frames that a signal is made of; None: all
    motion: Float[Tensor, "T Q"] | None = None  # what the driver before this one foretold, in its space
    units: Float[Tensor, "T 17"] | None = None  # of these those that are action units, of any driver before this one

    @property
    def frames(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Prompt:
    """What is asked of a driver besides what it hears. Text is turned into an edit before."""

    speaker: str | None = None  # whose style; None: the first that the driver knows, the run's own
    edit: UnitEdit | None = None  # of the action units that it is prompted with
    guidance: dict[str, float] = field(default_factory=dict)  # weights by condition: "audio", "units"
    steps: int | None = None  # of a sampler; None: the driver's own

    def given(self) -> list[str]:
        """Names of what is asked for."""
        return [f.name for f in fields(self) if getattr(self, f.name) not in (None, {})]

    def only(self, names: Collection[str]) -> Prompt:
        """Less what is asked for under other names."""
        return Prompt(**{name: getattr(self, name) for name in self.given() if name in names})


@runtime_checkable  # while tests run, annotations are checked
class DriverStream(Protocol):
    """Samples in (16 kHz mono), parameters out as soon as they are certain."""

    def push(self, samples: Float[ndarray, " N"], *prompts: Float[Tensor, "u 17"]) -> Float[Tensor, "n P"]:
        """The next samples, and of a driver that is prompted units; the frames that they make certain."""

    def finish(self, frames: int | None = None, *prompts: Float[Tensor, "u 17"]) -> Float[Tensor, "n P"]:
        """The rest of the frames, of `frames` in all or as many as the sound is long."""


class Driver(ABC):
    """Foretells the numbers of a motion space. Each is one class, found by its name (`drivers.driver_class`)."""

    space: MotionSpace
    card: DriverCard
    lookahead: float  # seconds of sound after a frame that its parameters wait for; inf: the whole
    takes: frozenset[str] = frozenset()  # what of a prompt it understands
    prompted: bool = False  # whether it needs action units, which a driver before it foretells
    draws: bool = False  # whether another seed gives another motion

    @abstractmethod
    def sample(self, heard: Heard, prompt: Prompt, seed: int, count: int = 1) -> Float[Tensor, "count T P"]:
        """Motions of all frames. Row k depends on `seed` + k alone, not on how many there are.

        Raises:
            UserError: the driver knows no such speaker.
        """

    def stream(self, prompt: Prompt) -> DriverStream | None:
        """For sound that comes in chunks; None where the driver has no live form.

        Raises:
            UserError: it has one, but not as it was trained.
        """
        return None

    @property
    def scale(self) -> Float[Tensor, " P"]:
        """How far each number usually moves."""
        return torch.ones(len(self.space.names))

    def report(self) -> dict[str, Any] | None:
        """What a performance's report says of each number; None: nothing."""
        return None

    @final
    @torch.no_grad()
    def foretell(
        self, signal: DrivingSignal, heard: Heard, prompt: Prompt | None = None, seed: int = 0
    ) -> DrivingSignal:
        """The signal with what the sound foretells in it; all else stays.

        Args:
            signal: of the frames that are `heard`, or of those that are `wanted` of them.

        Raises:
            UserError: the prompt asks for what the driver lacks.
        """
        prompt = Prompt() if prompt is None else prompt
        self.refuse(prompt)
        values = self.sample(heard, prompt, seed)[0]
        return self.space.write(signal, values if heard.wanted is None else values[heard.wanted])

    @final
    def refuse(self, prompt: Prompt) -> None:
        """
        Raises:
            UserError: the prompt asks for what the driver lacks.
        """
        for name in prompt.given():
            if name not in self.takes:
                expected = f"nothing: {self.card.driver} takes {', '.join(sorted(self.takes)) or 'no prompt'}"
                raise UserError(name, repr(getattr(prompt, name)), expected, "leave it out, or use another driver")

    # -- from configuration to a driver --------------------------------------------------------------------------------

    @classmethod
    def options(cls, config: FitConfig) -> DriverOptions:
        """`driver.options`, checked before anything is built.

        Raises:
            UserError: a mistake in them; or, as here, the driver needs no training.
        """
        found, expected = repr(config.driver.name), "a driver that is trained"
        raise UserError("driver.name", found, expected, "leave its stage out: it is fitted where it is needed")

    @classmethod
    def training(
        cls, config: FitConfig, body: Body, clips: Sequence[MotionClip], render: RenderTerm | None
    ) -> DriverTraining:
        """What trains it.

        Args:
            clips: of whom it learns; number n is the speaker of style n, the run's own first.
            render: what an avatar fitted before draws.

        Raises:
            UserError: a mistake in the terms or the schedule, or clips that are too short.
        """
        raise NotImplementedError(f"{cls.__name__} has options, but no training")

    @classmethod
    def load(cls, checkpoint: dict[str, Any], body: Body) -> Driver:
        """From a checkpoint of its training ("driver" and "state_dict"), on the CPU."""
        raise NotImplementedError(f"{cls.__name__} has options, but cannot be loaded")
