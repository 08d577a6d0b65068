"""How far a person's shape is from the tracked one: as the eyes are seen elsewhere in the mean of all frames.

A shape that is a little off puts the head some pixels beside its picture, in every frame alike. Whoever learns from it
paints a lid onto the skin beside the lid, and blinks with that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.geometry.cameras import project
from talkingavatar.types import BodyPose, Cameras

EYES = slice(36, 48)  # of the landmarks: detectors and bodies mean the same by them, not so by nose and outline
STEP = 0.1  # of a shape coefficient, for its effect
SLACK = 0.1  # standard deviation of what a coefficient is off by
NOISE = 0.3  # pixels: of the eyes' mean place
ROUNDS = 2  # of Gauss-Newton
ROUNDED = 1e-4  # sums are taken in another order where there are more cores


@dataclass(frozen=True)
class ShapeShift:
    """What is added to the shape coefficients."""

    values: Float[Tensor, " S"]

    def apply(self, pose: BodyPose) -> BodyPose:
        return replace(pose, betas=pose.betas + self.values)


@torch.no_grad()
def shape_shift(body: Body, pose: BodyPose, marks: Float[Tensor, "B 68 3"], cameras: Cameras) -> ShapeShift:
    """The least with which the body's eyes stand, in the mean of these frames, where they are detected.

    Args:
        marks: detected, x and y in pixels and a confidence, 0 where one is not seen.
    """
    places, weights = marks[:, EYES, :2], marks[:, EYES, 2:]
    total = weights.sum((0, 1)).clamp_min(1e-6)

    def missing(values: Float[Tensor, " S"]) -> Float[Tensor, " 2"]:
        drawn = project(body.posed_landmarks(ShapeShift(values).apply(pose)), cameras)[:, EYES]
        return (weights * (places - drawn)).sum((0, 1)) / total

    values, axes = torch.zeros(pose.betas.shape[1]), STEP * torch.eye(pose.betas.shape[1])
    for _ in range(ROUNDS):
        now = missing(values)
        effect = torch.stack([now - missing(values + axis) for axis in axes], 1) / STEP
        normal = effect.T @ effect / NOISE**2 + torch.eye(len(values)) / SLACK**2
        values = values + torch.linalg.solve(normal, effect.T @ now / NOISE**2 - values / SLACK**2)
    return ShapeShift((values / ROUNDED).round() * ROUNDED)
