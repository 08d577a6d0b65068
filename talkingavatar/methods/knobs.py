"""What one may turn by hand of what drives an avatar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from talkingavatar.types import BodyPose, DrivingSignal


@dataclass(frozen=True)
class Knob:
    """Something of a signal that one may turn by hand, from `low` to `high`; 0 is neutral."""

    name: str
    low: float
    high: float
    turn: Callable[[DrivingSignal, float], DrivingSignal]


Reposed = Callable[[DrivingSignal, BodyPose], DrivingSignal]  # `Method.reposed`


def expression_knob(column: int, name: str, reposed: Reposed) -> Knob:
    """One coefficient, beyond the face that it makes at 1 and against it."""

    def turn(signal: DrivingSignal, value: float) -> DrivingSignal:
        expression = signal.pose.expression.clone()
        expression[:, column] = value
        return reposed(signal, replace(signal.pose, expression=expression))

    return Knob(name, -0.5, 1.5, turn)
