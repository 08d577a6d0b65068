"""A pose with another face: what is measured where no recording shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from talkingavatar.config.compose import suggestion
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose

FACE_JOINTS = ("jaw", "left_eye_smplhf", "right_eye_smplhf")  # at rest where a face does not say otherwise


@dataclass(frozen=True)
class Face:
    """Facial actions by name (all others are zero), and joints turned by axis-angle (radians), the face's from rest."""

    name: str
    actions: Mapping[str, float]
    joints: Mapping[str, Sequence[float]]


def check_face(face: Face, expressions: Iterable[str], joints: Iterable[str]) -> None:
    """
    Raises:
        UserError: a body of these expressions and joints does not have one.
    """
    for kind, given, known in (("action", face.actions, expressions), ("joint", face.joints, joints)):
        known = list(known)
        for name in given:
            if name not in known:
                expected = f"one of the body's: {', '.join(known)}"
                raise UserError(f"expressions:{face.name}", f"the {kind} {name!r}", expected, suggestion(name, known))


def with_face(pose: BodyPose, face: Face, expressions: Sequence[str], joints: Sequence[str]) -> BodyPose:
    """Each frame of `pose` with this face, of a body whose expressions and joints are named so."""
    expression, full_pose = torch.zeros_like(pose.expression), pose.full_pose.clone()
    for name, value in face.actions.items():
        expression[:, expressions.index(name)] = value
    for name in FACE_JOINTS:
        full_pose[:, joints.index(name)] = 0
    for name, axis_angle in face.joints.items():
        full_pose[:, joints.index(name)] += torch.tensor(axis_angle)
    return replace(pose, expression=expression, full_pose=full_pose)
