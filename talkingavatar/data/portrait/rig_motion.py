"""The motion latent of a body that was tracked, without a picture: its face mesh is read as a portrait's is, or, where
the latents are of a source that reads pictures, what it said of the tracked poses is told of others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.body.action_units import JAW, JAW_OPEN
from talkingavatar.body.body import Body
from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.data.portrait.mesh_warp import SHIPPED
from talkingavatar.data.portrait.portrait import UPRIGHT
from talkingavatar.errors import UserError
from talkingavatar.geometry.similarity import head_angles, similarity
from talkingavatar.networks.least_squares import LeastSquares
from talkingavatar.networks.mesh_code import EVERY, POSE, load_mesh_code
from talkingavatar.types import BodyPose

CHUNK = 64  # frames at once
STRENGTHS = (0.5, 1.0)  # of actions, each alone
TURNS = {
    "jaw": ((0, 0.15), (0, 0.3)),
    "eye": ((0, -0.3), (0, 0.3), (1, -0.3), (1, 0.3)),
}  # axis, radians of joints alone


class RigMotion(nn.Module):
    """Reads what `MeshWarp.read` does, dyn and then pose, off poses of one person before one camera."""

    rows: Tensor
    neutral: Tensor
    viewmat: Tensor
    origin: Tensor

    def __init__(
        self, body: Body, betas: Float[Tensor, "1 S"], viewmat: Float[Tensor, "4 4"], code: Path = SHIPPED
    ) -> None:
        """
        Args:
            viewmat: world to camera.

        Raises:
            UserError: a code does not read this body's face.
        """
        super().__init__()
        if not body.name.startswith("open"):
            raise UserError("body", body.name, "the open rig, whose face a code is read off", "choose body=open_flame")
        mesh, self.code, self.body = FaceMesh(body), load_mesh_code(code).network, body
        neutral = mesh.neutral(betas)
        read = torch.arange(0, len(mesh), EVERY)
        self.stiff, self.size = len(mesh.stiff), float(mesh.size(neutral))
        chosen = torch.cat([mesh.stiff, read])
        for name, value in {
            "rows": mesh.rows[chosen],
            "neutral": neutral[:, chosen],
            "viewmat": viewmat.clone(),
            "origin": torch.zeros(3),
        }.items():
            self.register_buffer(name, value, persistent=False)

    @property
    def dyn(self) -> int:
        """How many numbers come before the seven of the pose."""
        return self.code.encoder.out_features

    def forward(self, pose: BodyPose) -> Float[Tensor, "B D"]:
        return torch.cat([self._read(pose[start : start + CHUNK]) for start in range(0, len(pose), CHUNK)])

    @torch.no_grad()
    def lie(self, pose: BodyPose, place: Float[Tensor, "T 3"] | None = None) -> None:
        """Let the heads of these frames be in the mean where `place` says, or else the first where places begin."""
        found = self(pose)[:, -3:]
        self.origin += found[0] if place is None else (found - place).mean(0)

    @torch.no_grad()
    def single_moves(self, rest: BodyPose) -> tuple[Float[Tensor, "M D"], BodyPose]:
        """By how much a face's numbers change where the rig does one thing alone, and the poses that do it.

        A mouth that is opened by its action is said to be opened by the jaw's joint, as a tracker says it.

        Args:
            rest: a pose without expression.
        """
        actions = len(self.body.expression_names)
        turns = [
            (joint, axis, angle)
            for name, turned in TURNS.items()
            for joint in self._joints(name)
            for axis, angle in turned
        ]
        pose = rest[[0] * (len(STRENGTHS) * actions + len(turns) + 1)]
        expression, full_pose = torch.zeros_like(pose.expression), pose.full_pose.clone()
        for number, strength in enumerate(STRENGTHS):
            expression[number * actions : (number + 1) * actions] = strength * torch.eye(actions)
        for row, (joint, axis, angle) in enumerate(turns, len(STRENGTHS) * actions):
            full_pose[row, joint, axis] = angle
        codes = self(replace(pose, expression=expression, full_pose=full_pose))[:, : self.dyn]
        opened = self.body.expression_names.index(JAW)
        full_pose[:, self._joints("jaw"), 0] += JAW_OPEN * expression[:, [opened]]
        expression[:, opened] = 0
        return (codes - codes[-1:])[:-1], replace(pose, expression=expression, full_pose=full_pose)[:-1]

    def _joints(self, part: str) -> list[int]:
        return [number for number, name in enumerate(self.body.joint_names) if part in name]

    def _read(self, pose: BodyPose) -> Float[Tensor, "B D"]:
        world, _ = self.body(pose, self.rows)
        seen = (world @ self.viewmat[:3, :3].T + self.viewmat[:3, 3]) * world.new_tensor(UPRIGHT)
        stiff, neutral = self.stiff, self.neutral.expand(len(pose), -1, -1)
        scale, rotation, place = similarity(neutral[:, :stiff], seen[:, :stiff])
        laid = (seen[:, stiff:] - place[:, None]) @ rotation / scale[:, None, None]
        dyn = self.code.encoder(((laid - neutral[:, stiff:]) / self.size).flatten(1))
        return torch.cat([dyn, scale.log()[:, None], head_angles(rotation), place / self.size - self.origin], 1)


class FittedMotion(nn.Module):
    """Latents of any source from poses: the least squares of those that were tracked with its latents."""

    def __init__(self, pose: BodyPose, latents: Float[Tensor, "T D"], joints: list[int]) -> None:
        """
        Args:
            joints: whose rotations are read, beside expression and place.

        Raises:
            UserError: there are not even numbers for the pose.
        """
        super().__init__()
        self.joints, self.dyn = joints, latents.shape[1] - POSE
        if self.dyn < 1:
            raise UserError("data", f"a motion latent of {latents.shape[1]} numbers", f"{POSE} of pose, and the face's",
                            "choose another capture")  # fmt: skip
        self.fitted = LeastSquares(self._values(pose), latents)

    def forward(self, pose: BodyPose) -> Float[Tensor, "B D"]:
        return self.fitted(self._values(pose))

    def _values(self, pose: BodyPose) -> Float[Tensor, "B P"]:
        return torch.cat([pose.expression, pose.full_pose[:, self.joints].flatten(1), pose.transl], 1)
