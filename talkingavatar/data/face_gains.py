"""How far a tracker's faces fall short of what its own landmarks show: a gain per number, shared by all frames.

Trackers smooth and shy from extremes: jaws open to half, lips are lost. Whoever learns from such numbers learns the
fault; landmarks have noise, but no such fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.geometry.cameras import project
from talkingavatar.types import BodyPose, Cameras

FRAMES = 150  # that say enough
ANCHORS = (*range(27, 36), 36, 39, 42, 45)  # nose and corners of the eyes: no expression moves them much
INNER = slice(17, 68)  # the outline is where a detector guesses
SLACK = 1.0  # standard deviation of a gain, before anything is seen
ALIKE = 10.0  # frames and landmarks whose errors are as one: neighbours err alike
MOST = 4.0
STEP = 0.05  # of a gain, for its effect; landmarks are nearly linear in all of them
ROUNDS = 2  # of Gauss-Newton
ROUNDED = 1e-3  # sums are taken in another order where there are more cores


@dataclass(frozen=True)
class FaceGains:
    """Factors of the jaw's axis-angle and of each expression coefficient; neutral stays neutral."""

    jaw: int  # its number among the body's joints
    values: Float[Tensor, " C"]

    def apply(self, pose: BodyPose) -> BodyPose:
        full_pose = pose.full_pose.clone()
        full_pose[:, self.jaw] *= self.values[:3]
        return replace(pose, full_pose=full_pose, expression=pose.expression * self.values[3:])


def some(frames: Sequence[int]) -> list[int]:
    """So many of the frames as say enough, evenly."""
    return list(frames[:: -(-len(frames) // FRAMES)])


@torch.no_grad()
def face_gains(body: Body, pose: BodyPose, marks: Float[Tensor, "B 68 3"], cameras: Cameras) -> FaceGains:
    """Those with which the body's landmarks move as the detected ones do.

    Robust least squares of how both change over the frames: where landmarks lie on a face in the mean, and where the
    head is, says nothing. What the frames do not excite keeps its factor of one.

    Args:
        marks: detected, x and y in pixels and a confidence, 0 where one is not seen.
    """
    face, weights = _Face(body, pose, cameras), marks[..., 2:]
    values = torch.ones(3 + pose.expression.shape[1])
    seen, inner = _movement(marks[..., :2], weights), weights[:, INNER]
    for _ in range(ROUNDS):
        gains = FaceGains(face.jaw, values)
        missing, effect = seen - _movement(face.landmarks(gains), weights), _movement(face.effects(gains), weights)
        noise = 1.5 * missing.abs()[inner[..., 0] > 0].median().clamp_min(1e-3)
        trust = inner / (1 + (missing / (2 * noise)) ** 2) / (ALIKE * noise**2)
        told, effect = (trust * missing).flatten(), effect.flatten(0, 2)
        normal = effect.T @ (trust.expand_as(missing).reshape(-1, 1) * effect) + torch.eye(len(values)) / SLACK**2
        pull = effect.T @ told - (values - 1) / SLACK**2
        values = (values + torch.linalg.solve(normal, pull)).clamp(0, MOST)
    return FaceGains(face.jaw, (values / ROUNDED).round() * ROUNDED)


class _Face:
    """A tracked face by its landmarks."""

    def __init__(self, body: Body, pose: BodyPose, cameras: Cameras) -> None:
        self.body, self.pose, self.cameras = body, pose, cameras
        self.jaw = body.joint_names.index("jaw")

    def landmarks(self, gains: FaceGains) -> Float[Tensor, "B 68 2"]:
        """In pixels, of the face with these gains."""
        return project(self.body.posed_landmarks(gains.apply(self.pose)), self.cameras)

    def effects(self, gains: FaceGains) -> Float[Tensor, "B 68 2 C"]:
        """Of each gain on the landmarks, pixels."""
        now = self.landmarks(gains)
        turned = [self.landmarks(replace(gains, values=gains.values + STEP * axis)) - now
                  for axis in torch.eye(len(gains.values))[:3]]  # fmt: skip
        return torch.cat([torch.stack(turned, -1) / STEP, self._expressions(gains.apply(self.pose))], -1)

    def _expressions(self, pose: BodyPose) -> Float[Tensor, "B 68 2 E"]:
        """What each tracked coefficient does; linear but for the camera."""
        body, view, K = self.body, self.cameras.viewmats, self.cameras.Ks
        transforms = body.joint_transforms(pose.betas, pose.full_pose, pose.expression)[..., :3, :3].flatten(2)
        corners = body.landmark_corners
        turns = view[:, None, None, :3, :3] @ (body.weights[corners] @ transforms[:, None]).unflatten(-1, (3, 3))
        moved = body.at_landmarks(torch.einsum("blcij,lcje->blcie", turns, body.expressiondirs[corners]))
        moved = moved * self.pose.expression[:, None, None]
        points = body.posed_landmarks(pose)
        place = torch.einsum("bij,blj->bli", view[:, :3, :3], points) + view[:, None, :3, 3]
        place = place[..., None]
        across = (moved[:, :, :2] - place[:, :, :2] / place[:, :, 2:] * moved[:, :, 2:]) / place[:, :, 2:]
        return torch.einsum("bij,blje->blie", K[:, :2, :2], across)


def _movement(points: Float[Tensor, "B 68 2 *n"], weights: Float[Tensor, "B 68 1"]) -> Float[Tensor, "B 51 2 *n"]:
    """Of the landmarks inside the face against its anchors and against their own mean over the frames."""
    weights = weights.reshape(*weights.shape, *[1] * (points.ndim - 3))
    points = points - _mean(points[:, ANCHORS], weights[:, ANCHORS], 1)
    return (points - _mean(points, weights, 0))[:, INNER]


def _mean(values: Float[Tensor, "..."], weights: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
    return (values * weights).sum(dim, keepdim=True) / weights.sum(dim, keepdim=True).clamp_min(1e-6)
