"""Action units off poses: by the names of a rig's actions, or as they were seen beside poses without names."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.body.action_units import INTENSITY, JAW, JAW_OPEN, NAMES, PARTED, UNITS, NamedFace, is_named
from talkingavatar.body.body import Body
from talkingavatar.errors import UserError
from talkingavatar.networks.least_squares import LeastSquares
from talkingavatar.types import BodyPose

PARTS, DROP = NAMES.index("AU25"), NAMES.index("AU26")


class NamedUnits(nn.Module):
    """`body.action_units.NamedFace.units` where the poses are, without gradient.

    Raises:
        UserError: a body whose expressions have no names.
    """

    shares: Tensor

    def __init__(self, body: Body) -> None:
        super().__init__()
        names = NamedFace(body).names
        self.jaw, self.column = body.joint_names.index("jaw"), names.index(JAW)
        shares = torch.zeros(len(NAMES), len(names))
        for row, unit in enumerate(UNITS.values()):
            lips = [action for action in unit.actions if row != PARTS or action != JAW]
            shares[row, [names.index(action) for action in lips]] = 1 / len(lips)
        self.register_buffer("shares", shares, persistent=False)

    @torch.no_grad()
    def forward(self, pose: BodyPose) -> Float[Tensor, "B 17"]:
        actions = pose.expression.clone()
        actions[:, self.column] += pose.full_pose[:, self.jaw, 0] / JAW_OPEN
        units = actions @ self.shares.T
        units[:, PARTS] = torch.maximum(units[:, PARTS], units[:, DROP] / PARTED)
        return INTENSITY * units.clamp(0, 1)


class SeenUnits(nn.Module):
    """Of a body whose expressions have no names: the least squares of what was seen beside tracked poses."""

    def __init__(self, body: Body, pose: BodyPose, units: Float[Tensor, "T 17"]) -> None:
        super().__init__()
        self.joints = [body.joint_names.index("jaw")]
        self.fitted = LeastSquares(self._values(pose), units)

    @torch.no_grad()
    def forward(self, pose: BodyPose) -> Float[Tensor, "B 17"]:
        return self.fitted(self._values(pose)).clamp(0, INTENSITY)

    def _values(self, pose: BodyPose) -> Float[Tensor, "B P"]:
        return torch.cat([pose.expression, pose.full_pose[:, self.joints].flatten(1)], 1)


def unit_reader(
    body: Body, pose: BodyPose, units: Float[Tensor, "T 17"] | None, frames: list[int]
) -> NamedUnits | SeenUnits:
    """What reads units off a body's poses.

    Args:
        pose: a capture's.
        units: of the same frames, where they are known.
        frames: those to learn from.

    Raises:
        UserError: neither names nor units tell.
    """
    if is_named(body.expression_names):
        return NamedUnits(body)
    if units is None:
        raise UserError(
            "data", f"a capture without action units, and {body.name}, whose expressions have no names",
            "aus.npz, or actions.npz of OpenFace", "preprocess with OpenFace, or use body=open_flame",
        )  # fmt: skip
    return SeenUnits(body, pose[frames], units[frames])
