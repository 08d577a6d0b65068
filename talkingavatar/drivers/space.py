"""What a driver foretells: a row of numbers a frame, read from a driving signal and written into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, cast, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.data.inputs import reposed
from talkingavatar.types import DrivingSignal


@runtime_checkable  # while tests run, annotations are checked
class MotionSpace(Protocol):
    """P numbers a frame, by name."""

    names: list[str]

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
        self.names = self.parts.names

    def read(self, signal: DrivingSignal) -> Float[Tensor, "B P"]:
        return self.parts.read(signal.pose)

    def write(self, signal: DrivingSignal, values: Float[Tensor, "B P"]) -> DrivingSignal:
        return reposed(signal, self.parts.write(signal.pose, values.to(signal.pose.expression)))


class SignalField:
    """A field of the signal whose numbers have names: a motion latent, facial actions, shares of emotions."""

    def __init__(self, field: Literal["latent", "actions", "emotion"], names: list[str]) -> None:
        self.field, self.names = field, names

    def read(self, signal: DrivingSignal) -> Float[Tensor, "B P"]:
        values = getattr(signal, self.field)
        assert values is not None, f"the signal has no {self.field}"
        return values

    def write(self, signal: DrivingSignal, values: Float[Tensor, "B P"]) -> DrivingSignal:
        return replace(signal, **cast(Any, {self.field: values.to(signal.pose.expression)}))
