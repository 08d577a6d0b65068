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
from talkingavatar.data.face_marks import INNER, PosedFace, movement
from talkingavatar.types import BodyPose, Cameras

FRAMES = 150  # that say enough
SLACK = 1.0  # standard deviation of a gain, before anything is seen
ALIKE = 10.0  # frames and landmarks whose errors are as one: neighbours err alike
MOST = 4.0
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
    face, weights = PosedFace(body, cameras), marks[..., 2:]
    values = torch.ones(3 + pose.expression.shape[1])
    seen, inner = movement(marks[..., :2], weights), weights[:, INNER]
    for _ in range(ROUNDS):
        gains = FaceGains(face.jaw, values)
        gained = gains.apply(pose)
        missing, effect = seen - movement(face.marks(gained), weights), movement(_effects(face, pose, gained), weights)
        noise = 1.5 * missing.abs()[inner[..., 0] > 0].median().clamp_min(1e-3)
        trust = inner / (1 + (missing / (2 * noise)) ** 2) / (ALIKE * noise**2)
        told, effect = (trust * missing).flatten(), effect.flatten(0, 2)
        normal = effect.T @ (trust.expand_as(missing).reshape(-1, 1) * effect) + torch.eye(len(values)) / SLACK**2
        pull = effect.T @ told - (values - 1) / SLACK**2
        values = (values + torch.linalg.solve(normal, pull)).clamp(0, MOST)
    return FaceGains(face.jaw, (values / ROUNDED).round() * ROUNDED)


def _effects(face: PosedFace, pose: BodyPose, gained: BodyPose) -> Float[Tensor, "B 68 2 C"]:
    """Of each gain on the landmarks, pixels."""
    jaw = face.jaw_axes(gained) * pose.full_pose[:, face.jaw, None, None, :]
    return torch.cat([jaw, face.actions(gained) * pose.expression[:, None, None]], -1)
