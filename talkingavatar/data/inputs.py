"""What a method may be driven by: how each input is read from a capture, withheld, and followed in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.data.action_units import known_action_units
from talkingavatar.data.capture import Capture
from talkingavatar.types import BodyPose, DrivingSignal


@dataclass(frozen=True)
class Rest:
    """What is not simply zero where an input is withheld."""

    quiet: Float[Tensor, "16 C"]  # the feature window of silence (`audio.features.silence_features`)
    jaw: int  # number of its joint


@dataclass(frozen=True)
class Input:
    """An input that may be withheld by name (`method.silence`, conditions of `evaluate`).

    `without` gives the signal in which it is neutral; what the signal lacks anyway stays None.
    """

    field: str  # of the signal, where it lies
    without: Callable[[DrivingSignal, Rest], DrivingSignal]
    table: str | None = None  # of the capture, that it is read from; None: see `read_tables`
    moves: bool = False  # its change from frame to frame tells where it was while the shutter was open


def _silent(signal: DrivingSignal, rest: Rest) -> DrivingSignal:
    """Digital silence everywhere: a model that never heard zeros would answer them with noise."""
    if signal.audio is None:
        return signal
    return replace(signal, audio=rest.quiet.to(signal.audio).expand_as(signal.audio))


def _expressionless(signal: DrivingSignal, rest: Rest) -> DrivingSignal:
    pose = replace(signal.pose, expression=torch.zeros_like(signal.pose.expression))
    return replace(signal, pose=pose)


def _shut(signal: DrivingSignal, rest: Rest) -> DrivingSignal:
    full_pose = signal.pose.full_pose.clone()
    full_pose[:, rest.jaw] = 0
    return replace(signal, pose=replace(signal.pose, full_pose=full_pose))


def _zeroed(name: str) -> Callable[[DrivingSignal, Rest], DrivingSignal]:
    def without(signal: DrivingSignal, rest: Rest) -> DrivingSignal:
        value = getattr(signal, name)
        return signal if value is None else replace(signal, **cast(Any, {name: torch.zeros_like(value)}))

    return without


# The names are those of `config.schema.INPUTS`.
INPUTS = {
    "audio": Input("audio", _silent),
    "expression": Input("pose", _expressionless, moves=True),
    "jaw": Input("pose", _shut, moves=True),
    "latent": Input("latent", _zeroed("latent"), table="motion", moves=True),
    "actions": Input("actions", _zeroed("actions"), moves=True),
    "emotion": Input("emotion", _zeroed("emotion"), table="emotion"),
}
MOVING = sorted({known.field for known in INPUTS.values() if known.moves})


def read_tables(capture: Capture) -> dict[str, Float[Tensor, "T D"]]:
    """Fields of the signal that the capture keeps as tables, of all frames."""
    tables = {known.field: capture.table(known.table) for known in INPUTS.values() if known.table}
    tables["actions"] = known_action_units(capture)
    return {name: torch.from_numpy(table.values) for name, table in tables.items() if table is not None}


def withheld(signal: DrivingSignal, inputs: Iterable[str], rest: Rest) -> DrivingSignal:
    """The signal without some of its inputs; all else stays as it is."""
    for name in inputs:
        signal = INPUTS[name].without(signal, rest)
    return signal


def reposed(signal: DrivingSignal, pose: BodyPose) -> DrivingSignal:
    """The signal in another pose than the recorded one, of which recorded latents and actions would tell."""
    return replace(signal, pose=pose, latent=None, actions=None)


def change(before: DrivingSignal, after: DrivingSignal, frames: int) -> DrivingSignal:
    """By how much the moving inputs change a frame, between two signals that lie so many frames apart."""
    return _moving(before, after, lambda a, b: (b - a) / frames)


def moved(signal: DrivingSignal, motion: DrivingSignal, time: float) -> DrivingSignal:
    """The signal `time` frames later, where `motion` is its change a frame."""
    return _moving(signal, motion, lambda now, rate: now + time * rate)


def _moving(a: DrivingSignal, b: DrivingSignal, combine: Callable[[Tensor, Tensor], Tensor]) -> DrivingSignal:
    """The first signal with its moving fields made of those of both."""

    def made(one: Any, other: Any) -> Any:
        if isinstance(one, BodyPose):
            return BodyPose(**{f.name: made(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)})
        return None if one is None else combine(one, other)

    return replace(a, **{name: made(getattr(a, name), getattr(b, name)) for name in MOVING})
