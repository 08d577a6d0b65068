"""Another person's tracked motion on this avatar."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.data.capture import Capture
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine.performing.idle import IdlePath
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import axis_angle_to_matrix, matrix_to_quat
from talkingavatar.geometry.slerp import quat_to_axis_angle
from talkingavatar.types import BodyPose


def borrowed_motion(other: Capture, data: CaptureData, body: Body, frames: int, first: int) -> tuple[BodyPose, int]:
    """`frames` frames of another capture's motion from its frame `first` on, and the frame whose camera sees them.

    The pose is carried over as the other camera saw it; shape and mean place are the avatar's own. A motion that is
    too short runs back and forth. The other clock is resampled by interpolation.

    Raises:
        UserError: the other capture was tracked with another body.
    """
    _refuse_another_body(other, data, body)
    capture = data.capture
    other.make_up(body, data.model, data.config.data.shape_shift, data.config.data.face_gains)
    theirs = other.pose(list(range(other.manifest.frames)), data.model)
    path = resampled(len(theirs) - first, frames, other.manifest.fps, capture.manifest.fps)
    path = IdlePath(path.first + first, path.second + first, path.share)
    trained = [frame for start, stop, _ in capture.manifest.train for frame in range(start, stop)]
    ours, start = capture.pose(trained, data.model), trained[0]
    view, world = other.cameras([first]).viewmats[0], capture.cameras([start]).viewmats[0]
    return carried_over(path.apply(theirs), ours, body, torch.linalg.inv(world) @ view), start


def resampled(count: int, frames: int, fps: float, wanted: float) -> IdlePath:
    """The `count` frames at `fps`, read at `wanted` frames a second, back and forth as often as it takes."""
    place = np.arange(frames) * fps / wanted
    if count > 1:
        place = np.abs((place + count - 1) % (2 * (count - 1)) - (count - 1))
    left = np.minimum(place.astype(np.int64), count - 1)
    right = np.minimum(left + 1, count - 1)
    return IdlePath(left, right, np.where(right > left, place - left, 0.0))


def carried_over(theirs: BodyPose, ours: BodyPose, body: Body, motion: Float[Tensor, "4 4"]) -> BodyPose:
    """The poses moved rigidly by `motion`, with our shape, their root's mean place at ours."""
    turn = motion[:3, :3]
    oriented = matrix_to_quat(turn @ axis_angle_to_matrix(theirs.full_pose[:, 0]))
    full_pose = theirs.full_pose.clone()
    full_pose[:, 0] = quat_to_axis_angle(oriented)
    betas = ours.betas[:1].expand(len(theirs), -1)
    # A body is turned about its root joint, which lies at the rest root plus the translation.
    their_root = body.rest_joints(theirs.betas)[:, 0] + theirs.transl
    our_root = body.rest_joints(ours.betas)[:, 0] + ours.transl
    root = their_root @ turn.T
    root = root + our_root.mean(0) - root.mean(0)
    return replace(theirs, betas=betas, full_pose=full_pose, transl=root - body.rest_joints(betas)[:, 0])


def _refuse_another_body(other: Capture, data: CaptureData, body: Body) -> None:
    theirs = other.manifest.body.get(data.model, body.checksum)
    columns = other.pose([0], data.model).expression.shape[1]
    ours = data.capture.pose([0], data.model).expression.shape[1]
    if theirs == body.checksum and columns == ours:
        return
    found = f"a capture tracked with the model of checksum {theirs[:12]} and {columns} expression coefficients"
    expected = f"{body.name} ({body.checksum[:12]}) with {ours}, as the run"
    raise UserError("motion", found, expected, "track that clip with the run's body")
