"""A portrait: one picture with the person's matte, the face mesh that was fitted to it, and the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.data.capture import Capture

UPRIGHT = (1.0, -1.0, -1.0)  # from OpenCV's camera axes to x right, y up, z towards the camera


@dataclass(frozen=True)
class Portrait:
    """`mesh` lies before the camera in the head's sense of axes: x right, y up, z towards it, metres."""

    picture: UInt8[ndarray, "H W 3"]
    matte: UInt8[ndarray, "H W"]
    K: Float[ndarray, "3 3"]  # pixels
    neutral: Float[Tensor, "N 3"]  # the person's face without an expression, in the head's frame
    mesh: Float[Tensor, "N 3"]  # what the picture shows

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.picture.shape[1], self.picture.shape[0]

    def project(self, mesh: Float[Tensor, "N 3"]) -> Float[ndarray, "N 3"]:
        """x, y in pixels, and nearness 1 / metres."""
        x, y, z = (mesh * mesh.new_tensor(UPRIGHT)).numpy().astype(np.float64).T
        fx, fy, cx, cy = self.K[0, 0], self.K[1, 1], self.K[0, 2], self.K[1, 2]
        return np.stack([fx * x / z + cx, fy * y / z + cy, 1 / z], 1).astype(np.float32)

    def lifted(self, pixels: Float[ndarray, "N 2"], depth: float) -> Float[Tensor, "N 3"]:
        """Points that are seen there and lie at z = `depth`, metres (negative: before the camera)."""
        x, y = ((pixels - self.K[:2, 2]) / self.K.diagonal()[:2]).T
        points = np.stack([x, y, np.ones(len(pixels))], 1) * -depth * np.array(UPRIGHT)
        return torch.from_numpy(points).float()


def before_camera(world: Float[Tensor, "N 3"], viewmat: Float[Tensor, "4 4"]) -> Float[Tensor, "N 3"]:
    """Points of the world as a portrait has them."""
    return (world @ viewmat[:3, :3].T + viewmat[:3, 3]) * world.new_tensor(UPRIGHT)


def portrait_of(capture: Capture, frame: int, mesh: FaceMesh) -> Portrait:
    """A frame of a capture, with the body that was tracked in it."""
    pose = capture.pose([frame])
    camera = capture.cameras([frame])
    to_camera = camera.viewmats[0]
    with torch.no_grad():
        world, neutral = mesh.posed(pose)[0], mesh.neutral(pose.betas)[0]
    K = camera.Ks[0].numpy().astype(np.float64)
    return Portrait(capture.frame(frame), capture.matte(frame), K, neutral, before_camera(world, to_camera))
