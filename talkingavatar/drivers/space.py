"""What a driver foretells: a row of numbers a frame, read from a driving signal and written into it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.action_units import INTENSITY, NAMES
from talkingavatar.body.models import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.data.inputs import reposed
from talkingavatar.errors import UserError
from talkingavatar.types import DrivingSignal

UNITS = "units"  # a target beside the parts of a pose: OpenFace's action units
FREE = (-math.inf, math.inf)


@runtime_checkable  # while tests run, annotations are checked
class MotionSpace(Protocol):
    """P numbers a frame, by name."""

    names: list[str]
    kinds: list[int]  # how many of them, one after the other, are of one kind and compare with each other
    limits: tuple[float, float]  # beyond which no value means anything

    @property
    def rig(self) -> RigParameters | None:
        """The parts of a pose in it, whose numbers come first; None: it has none."""

    def read(self, signal: DrivingSignal) -> Float[Tensor, "B P"]:
        """Of each frame."""

    def write(self, signal: DrivingSignal, values: Float[Tensor, "B P"]) -> DrivingSignal:
        """The signal with these numbers in it, all else as it is."""


class RigParameters:
    """Parts of the pose (`body.pose_parts`): radians of joints, then expression coefficients."""

    def __init__(self, body: Body, parts: Sequence[str]) -> None:
        """
        Raises:
            UserError: as `PoseParts`.
        """
        self.body, self.parts = body, PoseParts(body, parts)
        self.names, self.limits = self.parts.names, FREE
        split = 3 * len(self.parts.joints)
        self.kinds = [count for count in (split, len(self.names) - split) if count]

    @property
    def rig(self) -> RigParameters:
        return self

    def read(self, signal: DrivingSignal) -> Float[Tensor, "B P"]:
        return self.parts.read(signal.pose)

    def write(self, signal: DrivingSignal, values: Float[Tensor, "B P"]) -> DrivingSignal:
        return reposed(signal, self.parts.write(signal.pose, values.to(signal.pose.expression)))


class SignalField:
    """A field of the signal whose numbers have names: a motion latent, facial actions, shares of emotions."""

    rig = None

    def __init__(
        self, field: Literal["latent", "actions", "emotion"], names: list[str], limits: tuple[float, float] = FREE
    ) -> None:
        self.field, self.names, self.kinds, self.limits = field, names, [len(names)], limits

    def read(self, signal: DrivingSignal) -> Float[Tensor, "B P"]:
        values = getattr(signal, self.field)
        assert values is not None, f"the signal has no {self.field}"
        return values

    def write(self, signal: DrivingSignal, values: Float[Tensor, "B P"]) -> DrivingSignal:
        return replace(signal, **cast(Any, {self.field: values.to(signal.pose.expression)}))


class Together:
    """A pose's parts, where there are any, and fields of the signal that go with it, in this order."""

    limits = FREE

    def __init__(self, spaces: Sequence[RigParameters | SignalField]) -> None:
        self.spaces = list(spaces)
        self.names = [name for space in spaces for name in space.names]
        self.kinds = [count for space in spaces for count in space.kinds]

    @property
    def rig(self) -> RigParameters | None:
        return self.spaces[0].rig

    def read(self, signal: DrivingSignal) -> Float[Tensor, "B P"]:
        return torch.cat([space.read(signal) for space in self.spaces], 1)

    def write(self, signal: DrivingSignal, values: Float[Tensor, "B P"]) -> DrivingSignal:
        for space, part in zip(self.spaces, values.split([len(s.names) for s in self.spaces], 1), strict=True):
            signal = space.write(signal, part)
        return signal


def is_units(space: MotionSpace) -> bool:
    """Whether it is OpenFace's action units."""
    return isinstance(space, SignalField) and space.names == list(NAMES)


def space_of(body: Body, targets: Sequence[str]) -> RigParameters | SignalField:
    """The space of a driver's targets: parts of a pose, or `UNITS` alone.

    Raises:
        UserError: as `PoseParts`, or units beside parts of a pose.
    """
    if UNITS not in targets:
        return RigParameters(body, targets)
    if len(targets) > 1:
        expected = f"{UNITS} alone, or parts of a pose"
        raise UserError("driver.options.targets", ", ".join(targets), expected, "give each a stage of its own")
    return SignalField("actions", list(NAMES), (0.0, INTENSITY))
