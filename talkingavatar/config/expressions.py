"""Faces that nobody need have filmed, as data: read from `conf/evaluate/expression/default.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from talkingavatar.config.compose import suggestion
from talkingavatar.config.listing import config_dirs
from talkingavatar.errors import UserError

STRONGEST = 1.5  # actions; blendshapes are made for 1
WIDEST = 1.0  # radians that a joint is turned by


@dataclass
class FaceState:
    """A face at full strength."""

    actions: dict[str, float] = field(default_factory=dict)  # of the body's expressions, by name
    joints: dict[str, Any] = field(default_factory=dict)  # turned by axis-angle, 3 numbers in radians


@dataclass
class Expressions:
    """Every state, at every strength, with the head in every position."""

    strengths: list[float]
    heads: dict[str, Any]  # joints of each position
    states: dict[str, FaceState]


def read_expressions(chosen: Sequence[str] | None = None) -> Expressions:
    """The file; `$TALKINGAVATAR_CONF` may bring one that adds to ours. Of some states alone, where they are named.

    Raises:
        UserError: the file is wrong, a value is out of range, or there is no such state.
    """
    files = [file for root in config_dirs() for file in sorted((root / "evaluate" / "expression").glob("*.yaml"))]
    merged: Any = OmegaConf.structured(Expressions)
    for file in files:
        try:
            merged = OmegaConf.merge(merged, OmegaConf.load(file))
        except (OmegaConfBaseException, YAMLError) as error:
            told = " ".join(str(error).split())[:200]
            raise UserError(str(file), told, "states of a face", "correct the file") from error
    made = OmegaConf.to_object(merged)
    assert isinstance(made, Expressions)
    _check(made)
    if chosen is not None:
        for name in chosen:
            if name not in made.states:
                raise UserError(
                    "expressions", repr(name), f"some of {', '.join(made.states)}", suggestion(name, made.states)
                )
        made.states = {name: made.states[name] for name in chosen}
    return made


def _check(expressions: Expressions) -> None:
    for strength in expressions.strengths:
        _in_range("expressions:strengths", strength, 0, STRONGEST)
    for name, state in expressions.states.items():
        for action, value in state.actions.items():
            _in_range(f"expressions:{name}.{action}", value, -STRONGEST, STRONGEST)
    joints = {name: state.joints for name, state in expressions.states.items()} | expressions.heads
    for name, turned in joints.items():
        if not isinstance(turned, dict):
            raise UserError(f"expressions:{name}", repr(turned), "joints by name", "correct it")
        for joint, axis_angle in turned.items():
            numbers = axis_angle if isinstance(axis_angle, list) else []
            if len(numbers) != 3 or not all(isinstance(value, int | float) for value in numbers):
                expected = "3 numbers, an axis-angle in radians"
                raise UserError(f"expressions:{name}.{joint}", repr(axis_angle), expected, "correct it")
            for value in numbers:
                _in_range(f"expressions:{name}.{joint}", value, -WIDEST, WIDEST)


def _in_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(field, f"{value:g}", f"{low:g} to {high:g}", "correct it")
