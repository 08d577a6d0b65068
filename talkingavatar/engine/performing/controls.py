"""Where an avatar looks and how near it stands, whatever drives it: two of VASA-1's controls (arXiv 2404.10667, 3.2).

VASA-1 conditions its generator on both; here they are exact changes of the pose, so that no driver has to know them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.data.inputs import reposed
from talkingavatar.errors import UserError
from talkingavatar.geometry.cameras import eyes
from talkingavatar.geometry.rotations import axis_angle_to_matrix, matrix_to_quat
from talkingavatar.geometry.slerp import quat_to_axis_angle
from talkingavatar.types import Cameras, DrivingSignal

SIDE, UP = 30.0, 25.0  # degrees that eyes may be asked to turn
MOST = 30.0  # degrees that they turn in all: nobody was filmed with eyes farther aside
NEAR, FAR = 0.5, 2.0  # of the distance


@dataclass(frozen=True)
class Controls:
    """Changes of a performance, all frames alike."""

    gaze: tuple[float, float] = (0.0, 0.0)  # degrees to the person's left, and up, beyond where the eyes look
    distance: float = 1.0  # of the head from the camera, in what it would be

    @torch.no_grad()
    def applied(self, signal: DrivingSignal, body: Body, cameras: Cameras) -> DrivingSignal:
        """The signal with them in its pose; itself where there are none.

        Raises:
            UserError: the body has no eyes to turn.
        """
        pose = signal.pose
        if any(self.gaze):
            turning = [number for number, name in enumerate(body.joint_names) if "eye" in name]
            if not turning:
                expected = "a body whose eyes turn"
                raise UserError("gaze", f"{body.name}, which has no eyes", expected, "leave it out")
            full_pose = pose.full_pose.clone()
            full_pose[:, turning] = _turned(full_pose[:, turning], *self.gaze)
            pose = replace(pose, full_pose=full_pose)
        if self.distance != 1:
            head = body(pose)[1][:, body.joint_names.index("head" if "head" in body.joint_names else "neck")]
            pose = replace(pose, transl=pose.transl + (self.distance - 1) * (head - eyes(cameras.viewmats[:1])))
        if pose is signal.pose:
            return signal
        return replace(reposed(signal, pose), actions=signal.actions)  # no unit is a gaze or a place


def _turned(before: Float[Tensor, "B n 3"], side: float, up: float) -> Float[Tensor, "B n 3"]:
    """Axis-angles of eyes, turned in the head by degrees: about its upright axis, after that upwards."""
    angles = torch.deg2rad(before.new_tensor([[0.0, side, 0.0], [-up, 0.0, 0.0]]))
    about, over = axis_angle_to_matrix(angles)
    turned = quat_to_axis_angle(matrix_to_quat(about @ over @ axis_angle_to_matrix(before)))
    return turned * (math.radians(MOST) / turned.norm(dim=-1, keepdim=True).clamp_min(1e-6)).clamp(max=1)
