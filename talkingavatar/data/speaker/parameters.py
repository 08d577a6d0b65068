"""A performance as SMPL-X's and FLAME's parameters, as tables hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.models import Body
from talkingavatar.data.speaker.body_motion import Performance
from talkingavatar.geometry.rotations import axis_angle_to_matrix
from talkingavatar.types import BodyPose


@dataclass(frozen=True)
class BodyParameters:
    """SMPL-X parameters as the tables hold them."""

    betas: Float[ndarray, " S"]
    expression: Float[ndarray, "T E"]
    full_pose: Float[ndarray, "T J 3"]
    transl: Float[ndarray, "T 3"]

    @staticmethod
    def true(performance: Performance, betas: Float[ndarray, " S"], names: Sequence[str]) -> BodyParameters:
        expression = performance.expression_matrix(list(names))
        return BodyParameters(betas, expression, performance.full_pose, performance.transl)

    def pose(self) -> BodyPose:
        """The table as a pose of all frames."""
        tensors = {k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in vars(self).items()}
        tensors["betas"] = tensors["betas"].expand(len(self.transl), -1)
        return BodyPose(**tensors)

    def posed(self, body: Body) -> tuple[Float[ndarray, "T V 3"], Float[ndarray, "T 55 3"]]:
        """Vertices and joints of every frame, metres."""
        pose = self.pose()
        chunks = [body(pose[start : start + 32]) for start in range(0, len(pose), 32)]
        return tuple(torch.cat(parts).numpy() for parts in zip(*chunks, strict=True))  # type: ignore[return-value]


def head_parameters(parameters: BodyParameters, body: Body) -> BodyParameters:
    """The head's part of the parameters, for the open rig's FLAME file.

    Joints: neck, head, jaw, left eye, right eye, where the two files agree at rest; the neck turns in world space.
    """
    count = len(parameters.transl)
    betas = torch.from_numpy(np.asarray(parameters.betas, np.float32)).expand(count, -1)
    pose = torch.from_numpy(np.asarray(parameters.full_pose, np.float32))
    transforms = body.joint_transforms(betas, pose)
    joints = [body.joint_names.index(n) for n in ("neck", "head", "jaw", "left_eye_smplhf", "right_eye_smplhf")]
    neck = transforms[:, joints[0]]
    local = axis_angle_to_matrix(pose[:, joints])
    local[:, 0] = neck[:, :3, :3]
    rest = body.rest_joints(betas)[:, joints[0], :, None]
    moved = (neck[:, :3, :3] @ rest + neck[:, :3, 3:] - rest)[..., 0].numpy() + parameters.transl
    return BodyParameters(parameters.betas, parameters.expression, _rotation_vectors(local.numpy()), moved)


def _rotation_vectors(matrices: Float[ndarray, "T J 3 3"]) -> Float[ndarray, "T J 3"]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec().reshape(matrices.shape[:-1])
