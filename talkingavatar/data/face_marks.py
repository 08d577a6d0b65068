"""Landmarks of a posed face in the picture, and what moves them."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.geometry.cameras import project
from talkingavatar.types import BodyPose, Cameras

ANCHORS = (*range(27, 36), 36, 39, 42, 45)  # nose and corners of the eyes: no expression moves them much
INNER = slice(17, 68)  # the outline is where a detector guesses
STEP = 0.01  # radians of the jaw, for its effect; landmarks are nearly linear in it


class PosedFace:
    """A body's face before some cameras."""

    def __init__(self, body: Body, cameras: Cameras) -> None:
        self.body, self.cameras = body, cameras
        self.jaw = body.joint_names.index("jaw")

    def marks(self, pose: BodyPose) -> Float[Tensor, "B 68 2"]:
        """Landmarks in pixels."""
        return project(self.body.posed_landmarks(pose), self.cameras)

    def jaw_axes(self, pose: BodyPose, count: int = 3) -> Float[Tensor, "B 68 2 K"]:
        """What each of the first `count` numbers of the jaw's axis-angle does to them, pixels per radian."""
        now, moved = self.marks(pose), []
        for axis in range(count):
            turned = pose.full_pose.clone()
            turned[:, self.jaw, axis] += STEP
            moved.append((self.marks(replace(pose, full_pose=turned)) - now) / STEP)
        return torch.stack(moved, -1)

    def actions(self, pose: BodyPose) -> Float[Tensor, "B 68 2 E"]:
        """What each coefficient of the expression does, pixels per unit; linear but for the camera."""
        body, view, K = self.body, self.cameras.viewmats, self.cameras.Ks
        transforms = body.joint_transforms(pose.betas, pose.full_pose, pose.expression)[..., :3, :3].flatten(2)
        corners = body.landmark_corners
        turns = view[:, None, None, :3, :3] @ (body.weights[corners] @ transforms[:, None]).unflatten(-1, (3, 3))
        moved = body.at_landmarks(torch.einsum("blcij,lcje->blcie", turns, body.expressiondirs[corners]))
        points = body.posed_landmarks(pose)
        place = torch.einsum("bij,blj->bli", view[:, :3, :3], points) + view[:, None, :3, 3]
        place = place[..., None]
        across = (moved[:, :, :2] - place[:, :, :2] / place[:, :, 2:] * moved[:, :, 2:]) / place[:, :, 2:]
        return torch.einsum("bij,blje->blie", K[:, :2, :2], across)


def movement(points: Float[Tensor, "B 68 2 *n"], weights: Float[Tensor, "B 68 1"]) -> Float[Tensor, "B 51 2 *n"]:
    """Of the landmarks inside the face against its anchors and against their own mean over the frames."""
    weights = weights.reshape(*weights.shape, *[1] * (points.ndim - 3))
    points = points - _mean(points[:, ANCHORS], weights[:, ANCHORS], 1)
    return (points - _mean(points, weights, 0))[:, INNER]


def _mean(values: Float[Tensor, "..."], weights: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
    return (values * weights).sum(dim, keepdim=True) / weights.sum(dim, keepdim=True).clamp_min(1e-6)
