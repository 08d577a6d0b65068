"""Parts of a pose as one table: what a driver foretells, whatever the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from talkingavatar.body.body import Body
from talkingavatar.config.names import suggestion
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose

PARTS = ("jaw", "mouth", "upper", "eyes", "head")
MOUTH = ("mouth", "jaw", "cheekPuff", "tongueOut")  # how ARKit's names of the mouth's shapes begin
ABOVE_TRUNK = ("neck", "head")


class PoseParts(nn.Module):
    """Reads and writes some parts of a body's pose as a row of P numbers a frame.

    "jaw" (joint, axis-angle), "mouth" (expression columns that ARKit's names tell are the mouth's), "upper" (the other
    columns), "eyes" and "head" (joints; head: those between trunk and jaw, never the root, which is where the whole
    is in the world). Expression columns without ARKit's names (licensed models) all count as the mouth's: they cannot
    be told apart. Rows hold the joints first, then the expression, in the order of `PARTS`.
    """

    joints: Int[Tensor, " n"]  # numbers of those that are read
    columns: Int[Tensor, " m"]

    def __init__(self, body: Body, parts: Sequence[str]) -> None:
        """
        Raises:
            UserError: no parts, an unknown part, one named twice, or one that the body lacks.
        """
        super().__init__()
        for part in parts:
            if part not in PARTS:
                raise UserError("parts", repr(part), f"some of {', '.join(PARTS)}", suggestion(part, PARTS))
        if not parts or len(set(parts)) < len(parts):
            raise UserError("parts", ", ".join(parts) or "none", f"some of {', '.join(PARTS)}", "name each once")
        self.parts = tuple(part for part in PARTS if part in parts)
        joints, columns = _joints(body), _columns(body)
        if lacking := [part for part in self.parts if not joints.get(part) and not columns.get(part)]:
            found = f"{', '.join(lacking)}, which {body.name} cannot tell apart"
            raise UserError("parts", found, "parts that the body has", "leave it out")
        chosen = [[n for part in self.parts for n in numbers.get(part, [])] for numbers in (joints, columns)]
        for name, numbers in zip(("joints", "columns"), chosen, strict=True):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.long), persistent=False)
        self.names = [f"{body.joint_names[j]}_{axis}" for j in chosen[0] for axis in "xyz"]
        self.names += [body.expression_names[c] for c in chosen[1]]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, pose: BodyPose) -> Float[Tensor, "B P"]:
        """Radians of the joints (axis-angle), then expression coefficients."""
        return torch.cat([pose.full_pose[:, self.joints].flatten(1), pose.expression[:, self.columns]], 1)

    def write(self, pose: BodyPose, values: Float[Tensor, "B P"]) -> BodyPose:
        """The pose with other parts, all else as it is; differentiable, the given pose stays untouched."""
        full_pose, expression = pose.full_pose.clone(), pose.expression.clone()
        split = 3 * len(self.joints)
        full_pose[:, self.joints] = values[:, :split].unflatten(1, (len(self.joints), 3))
        expression[:, self.columns] = values[:, split:]
        return replace(pose, full_pose=full_pose, expression=expression)


def _joints(body: Body) -> dict[str, list[int]]:
    names = body.joint_names
    jaw = names.index("jaw")
    neck: list[int] = []
    above = body.parents[jaw]
    while above > 0 and names[above] in ABOVE_TRUNK:
        neck.insert(0, above)
        above = body.parents[above]
    return {"jaw": [jaw], "eyes": [j for j, name in enumerate(names) if "eye" in name], "head": neck}


def _columns(body: Body) -> dict[str, list[int]]:
    every = list(range(len(body.expression_names)))
    mouth = [c for c in every if body.expression_names[c].startswith(MOUTH)] or every
    return {"mouth": mouth, "upper": [c for c in every if c not in mouth]}
