"""What lips do that a tracker has lost, as their own landmarks tell of each frame.

Speech moves lips within a tenth of a second, and trackers smooth: gains shared by all frames (`face_gains`) give back
how far lips go in the mean, not when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.data.face_marks import ANCHORS, INNER, PosedFace, movement
from talkingavatar.metrics.landmarks import PARTS
from talkingavatar.types import BodyPose, Cameras

MOVE = ("mouth", "jaw", "tongue")  # what the names of actions begin with that move lips
MOUTH = PARTS["mouth"]
LIPS = slice(MOUTH.start - INNER.start, MOUTH.stop - INNER.start)  # the same of what `movement` gives
NOISE = 6e-3  # of a face's height: standard deviation of a detected landmark
ACTION, JAW = 0.07, 0.02  # the same of tracked actions and of the jaw, in radians
MOST = 3.0  # of these that anything is moved by: a detector may take something else for a mouth
ROUNDED = 1e-4  # sums are taken in another order where there are more cores
AT_ONCE = 150  # frames that are solved together


@dataclass(frozen=True)
class LostLips:
    """What is added to the jaw's turn about its first axis (radians) and to the actions of the mouth, by frame."""

    jaw: int  # its number among the body's joints
    columns: tuple[int, ...]
    turns: Float[Tensor, " T"]
    amounts: Float[Tensor, "T C"]

    def apply(self, pose: BodyPose, frames: Sequence[int]) -> BodyPose:
        """Of these frames."""
        rows, columns = list(frames), list(self.columns)
        full_pose, expression = pose.full_pose.clone(), pose.expression.clone()
        full_pose[:, self.jaw, 0] += self.turns[rows]
        expression[:, columns] += self.amounts[rows]
        return replace(pose, full_pose=full_pose, expression=expression)


@torch.no_grad()
def lost_lips(body: Body, pose: BodyPose, marks: Float[Tensor, "T 68 3"], cameras: Cameras) -> LostLips | None:
    """The likeliest, given how the landmarks of the mouth move and how far off both are; None of a body without names.

    Args:
        pose: as tracked.
        marks: detected, x and y in pixels and a confidence, 0 where one is not seen.
    """
    columns = tuple(i for i, name in enumerate(body.expression_names) if name.startswith(MOVE))
    if body.landmark_faces is None or not columns:
        return None
    face, weights = PosedFace(body, cameras), marks[..., 2:]
    tracked = face.marks(pose)
    missing = (movement(marks[..., :2], weights) - movement(tracked, weights))[:, LIPS]
    noise = NOISE * (tracked[:, INNER, 1].amax(1) - tracked[:, INNER, 1].amin(1)).median().clamp_min(1)
    # Where the face is that they move in, each frame's anchors tell.
    trust = weights[:, MOUTH] * (weights[:, ANCHORS] > 0).all(1, keepdim=True) / noise**2
    errors = torch.tensor([JAW, *[ACTION] * len(columns)])
    parts = []
    for some in torch.arange(len(marks)).split(AT_ONCE):
        looked = replace(cameras, viewmats=cameras.viewmats[some], Ks=cameras.Ks[some])
        effect = _effects(PosedFace(body, looked), pose[some], columns).flatten(1, 2)
        trusted = effect * trust[some].expand(-1, -1, 2).flatten(1)[..., None]
        normal = trusted.mT @ effect + (errors**-2).diag()
        solved = torch.linalg.solve(normal, trusted.mT @ missing[some].flatten(1)[..., None])[..., 0]
        parts.append(solved.clamp(-MOST * errors, MOST * errors))
    found = (torch.cat(parts) / ROUNDED).round() * ROUNDED
    turns, amounts = found.split([1, len(columns)], 1)
    return LostLips(face.jaw, columns, turns[:, 0], amounts)


def _effects(face: PosedFace, pose: BodyPose, columns: tuple[int, ...]) -> Float[Tensor, "B 20 2 C"]:
    """Of the jaw's turn and of actions on the landmarks of the mouth beside those that nothing moves, pixels."""
    found = torch.cat([face.jaw_axes(pose, 1), face.actions(pose)[..., list(columns)]], -1)
    return found[:, MOUTH] - found[:, ANCHORS].mean(1, keepdim=True)
