"""OpenFace's 17 action units and a rig's named actions: one table, and what each is in terms of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose


@dataclass(frozen=True)
class ActionUnit:
    """What of a face it moves (methods.md D.7)."""

    meaning: str
    actions: tuple[str, ...]  # of ARKit's names, whose mean it is; AU 25 see `action_units`


UNITS: dict[str, ActionUnit] = {
    "AU01": ActionUnit("inner brow raised", ("browInnerUp",)),
    "AU02": ActionUnit("outer brow raised", ("browOuterUpLeft", "browOuterUpRight")),
    "AU04": ActionUnit("brow lowered", ("browDownLeft", "browDownRight")),
    "AU05": ActionUnit("upper lid raised", ("eyeWideLeft", "eyeWideRight")),
    "AU06": ActionUnit("cheek raised", ("cheekSquintLeft", "cheekSquintRight")),
    "AU07": ActionUnit("lids tightened", ("eyeSquintLeft", "eyeSquintRight")),
    "AU09": ActionUnit("nose wrinkled", ("noseSneerLeft", "noseSneerRight")),
    "AU10": ActionUnit("upper lip raised", ("mouthUpperUpLeft", "mouthUpperUpRight")),
    "AU12": ActionUnit("lip corner pulled", ("mouthSmileLeft", "mouthSmileRight")),
    "AU14": ActionUnit("dimple", ("mouthDimpleLeft", "mouthDimpleRight")),
    "AU15": ActionUnit("lip corner lowered", ("mouthFrownLeft", "mouthFrownRight")),
    "AU17": ActionUnit("chin raised", ("mouthShrugLower", "mouthShrugUpper")),
    "AU20": ActionUnit("lips stretched", ("mouthStretchLeft", "mouthStretchRight")),
    "AU23": ActionUnit("lips tightened", ("mouthPressLeft", "mouthPressRight")),
    "AU25": ActionUnit(
        "lips parted",
        ("jawOpen", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    ),
    "AU26": ActionUnit("jaw dropped", ("jawOpen",)),
    "AU45": ActionUnit("eyes closed", ("eyeBlinkLeft", "eyeBlinkRight")),
}
NAMES = tuple(UNITS)
SPOKEN = ("AU25", "AU26")  # what the sound says first
SIDES = ("Left", "Right")  # the person's; an action without either is of both
PARTED = 0.25  # of jawOpen, from which lips are fully parted
INTENSITY = 5.0  # of an action of strength 1, OpenFace's scale
JAW = "jawOpen"
JAW_OPEN = 0.382  # radians of the joint that move the open rig's landmarks as its action jawOpen does


def action_units(actions: Float[ndarray, "T A"], names: Sequence[str]) -> dict[str, Float[ndarray, " T"]]:
    """Intensities 0 to 5 of OpenFace's 17 action units from facial actions 0 to 1 (methods.md D.7.3).

    AU 25, lips part, is what parts them most: a quarter of an open jaw, or lips drawn off each other. An action that
    is NaN, not seen, is left out of its unit's mean.

    Raises:
        UserError: actions without the names of ARKit.
    """
    _known(names)
    place = {name: i for i, name in enumerate(names)}

    def mean(*shapes: str) -> Float[ndarray, " T"]:
        values = actions[:, [place[name] for name in shapes]]
        known = np.isfinite(values)
        count = known.sum(1)
        return np.where(count > 0, np.where(known, values, 0.0).sum(1) / np.maximum(count, 1), np.nan)

    units = {name: mean(*unit.actions) for name, unit in UNITS.items()}
    lips = mean("mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight")
    units["AU25"] = np.fmax(units["AU26"] / PARTED, lips)
    return {name: INTENSITY * values.clip(0, 1) for name, values in units.items()}


def facial_actions(
    units: Float[ndarray, "T 17 2"], names: Sequence[str], strongest: float = INTENSITY
) -> Float[ndarray, "T A"]:
    """The way back: strengths of named actions, of each side's units, that are at least these intensities.

    AU 25 is a quarter of an open jaw. Read by `action_units` again all else but AU 25 and 26 is the same; a dropped
    jaw parts the lips. Actions that no unit has are zero.

    Args:
        strongest: the intensity that is strength 1.

    Raises:
        UserError: actions without the names of ARKit.
    """
    _known(names)
    made = np.zeros((len(units), len(names)))
    for row, (name, unit) in enumerate(UNITS.items()):
        share = PARTED if name == "AU25" else 1.0
        for action in (JAW,) if name == "AU25" else unit.actions:
            column = names.index(action)
            made[:, column] = np.maximum(made[:, column], share * _of_side(units[:, row], action) / strongest)
    return made


def _of_side(both: Float[ndarray, "T 2"], action: str) -> Float[ndarray, " T"]:
    """What the action's side asks for; where it has none, what either does."""
    for side, name in enumerate(SIDES):
        if action.endswith(name):
            return both[:, side]
    return both.max(1)


def is_named(names: Sequence[str]) -> bool:
    """Whether facial actions have the names of ARKit."""
    return not _missing(names)


def _missing(names: Sequence[str]) -> list[str]:
    return sorted({name for unit in UNITS.values() for name in unit.actions} - set(names))


def _known(names: Sequence[str]) -> None:
    if missing := _missing(names):
        found = f"no {', '.join(missing[:3])}"
        raise UserError("expression names", found, "ARKit's names of facial actions", "use the open rig (body=open)")


class NamedFace:
    """Facial actions of a body's poses by name; `jawOpen` is what its column and the turn of the jaw come to together.

    Raises:
        UserError: a body whose expressions have no names.
    """

    def __init__(self, body: Body) -> None:
        self.names = list(body.expression_names)
        _known(self.names)
        self._jaw, self._column = body.joint_names.index("jaw"), self.names.index(JAW)

    def read(self, pose: BodyPose) -> Float[ndarray, "T A"]:
        """Strengths of each of `names`, that may be beyond 0 to 1."""
        actions = pose.expression.detach().cpu().double().numpy().copy()
        actions[:, self._column] += pose.full_pose[:, self._jaw, 0].detach().cpu().double().numpy() / JAW_OPEN
        return actions

    def units(self, pose: BodyPose) -> Float[ndarray, "T 17"]:
        """Intensities of the 17 units."""
        return np.stack(list(action_units(self.read(pose), self.names).values()), 1)

    def write(self, pose: BodyPose, actions: Float[ndarray, "T A"]) -> BodyPose:
        """The poses with these strengths; what the jaw is to do more or less than before, its joint does."""
        before = self.read(pose)
        changed = actions - before
        changed[:, self._column] = 0
        expression = pose.expression + torch.from_numpy(changed).to(pose.expression)
        full_pose = pose.full_pose.clone()
        turned: Tensor = torch.from_numpy(JAW_OPEN * (actions - before)[:, self._column])
        full_pose[:, self._jaw, 0] += turned.to(full_pose)
        return replace(pose, expression=expression, full_pose=full_pose)
