"""Blinks that a tracker has missed, as the lids' own landmarks tell of each frame.

A blink lasts a tenth of a second, and trackers smooth: some they see half, some hardly at all. Whoever learns from such
a frame paints a shut lid onto an open eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.geometry.cameras import project
from talkingavatar.types import BodyPose, Cameras

ACTIONS = {"eyeBlinkRight": 36, "eyeBlinkLeft": 42}  # the first of the six landmarks round that eye
STEP = 0.5  # of an action, for its effect
CERTAIN = 3.0  # standard deviations, by the median, beyond which a lid is lower than it was tracked
LEAST = 0.05  # of such a deviation, in actions: what is smaller would only make lids tremble
ASIDE = 0.5  # of the usual width of an eye, below which it is seen too much from the side


@dataclass(frozen=True)
class MissedBlinks:
    """What is added to both lids of each frame."""

    columns: tuple[int, ...]
    amounts: Float[Tensor, " T"]

    def apply(self, pose: BodyPose, frames: Sequence[int]) -> BodyPose:
        """Of these frames; no lid is shut further than it shuts."""
        expression, columns = pose.expression.clone(), list(self.columns)
        tracked = expression[:, columns]
        shut = (tracked + self.amounts[list(frames), None]).minimum(tracked.clamp_min(1))
        expression[:, columns] = shut
        return replace(pose, expression=expression)


@torch.no_grad()
def missed_blinks(body: Body, pose: BodyPose, marks: Float[Tensor, "T 68 3"], cameras: Cameras) -> MissedBlinks | None:
    """Where both lids together are lower than tracked beyond all doubt, and by how much; None of a body without lids.

    Args:
        pose: as tracked.
        marks: detected, x and y in pixels and a confidence, 0 where one is not seen.
    """
    names = list(body.expression_names)
    if body.landmark_faces is None or not all(name in names for name in ACTIONS):
        return None
    columns = tuple(names.index(name) for name in ACTIONS)
    lower = pose.expression.clone()
    lower[:, list(columns)] += STEP
    tracked, lowered = (
        _gaps(project(body.posed_landmarks(moved), cameras)) for moved in (pose, replace(pose, expression=lower))
    )
    closing = (tracked - lowered).median(0).values / STEP
    if not (closing > 0).all():
        return None
    # Lids that have met are as shut as landmarks tell, however far a face's own go on into each other.
    lacking = (tracked.clamp_min(0) - _gaps(marks[..., :2]).clamp_min(0)) / closing
    lacking = (lacking - lacking.median(0).values).mean(1)
    deviation = (1.4826 * lacking.abs().median()).clamp_min(LEAST)
    certain = (lacking > CERTAIN * deviation) & _facing(marks)
    return MissedBlinks(columns, torch.where(certain, lacking, 0.0))


def _gaps(points: Float[Tensor, "T 68 2"]) -> Float[Tensor, "T 2"]:
    """Between the lids of either eye, as a share of its width; negative where they have passed each other."""
    found = []
    for first in ACTIONS.values():
        eye = points[:, first : first + 6]
        along = eye[:, 3] - eye[:, 0]
        down = torch.stack([-along[:, 1], along[:, 0]], -1) / along.square().sum(-1, keepdim=True).clamp_min(1e-6)
        opened = (eye[:, 5] - eye[:, 1] + eye[:, 4] - eye[:, 2]) / 2
        found.append((opened * down).sum(-1))
    return torch.stack(found, 1)


def _facing(marks: Float[Tensor, "T 68 3"]) -> Bool[Tensor, " T"]:
    """Frames in which all of both eyes is seen, and not too much from the side."""
    eyes = torch.stack([marks[:, first : first + 6] for first in ACTIONS.values()], 1)
    wide = (eyes[:, :, 3, :2] - eyes[:, :, 0, :2]).norm(dim=-1)
    return (eyes[..., 2] > 0).all(-1).all(-1) & (wide > ASIDE * wide.median(0).values).all(-1)
