"""The data that passes between parts, with shapes.

Conventions: metres, seconds, radians, pixels. Quaternions (w, x, y, z). Cameras have OpenCV axes (x right, y down,
z forward) and pixel centres at +0.5. Images are float RGB in [0, 1], shape (H, W, 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Cameras:
    """C pinhole cameras that share one image size."""

    viewmats: Float[Tensor, "C 4 4"]  # world to camera
    Ks: Float[Tensor, "C 3 3"]  # intrinsics, pixels
    width: int
    height: int

    def __len__(self) -> int:
        return self.viewmats.shape[0]

    def to(self, device: torch.device | str) -> Cameras:
        return replace(self, viewmats=self.viewmats.to(device), Ks=self.Ks.to(device))


@dataclass(frozen=True)
class Gaussians:
    """N activated Gaussians in world space; surfels ("2dgs") ignore the third scale, whose axis is the normal."""

    means: Float[Tensor, "N 3"]  # metres
    quats: Float[Tensor, "N 4"]  # (w, x, y, z), of any length but zero
    scales: Float[Tensor, "N 3"]  # metres, positive
    opacities: Float[Tensor, " N"]  # [0, 1]
    sh: Float[Tensor, "N K 3"]  # spherical harmonics, K = (degree + 1)^2; colour = max(SH + 0.5, 0)

    def __len__(self) -> int:
        return self.means.shape[0]


@dataclass
class Rendering:
    """What the rasteriser returns for C cameras. `info` is what density control needs (see `splatting.density`)."""

    rgb: Float[Tensor, "C H W 3"]  # composited on the background
    alpha: Float[Tensor, "C H W 1"]
    depth: Float[Tensor, "C H W 1"]  # expected depth along the camera's z axis, divided by alpha; 0 where empty
    median_depth: Float[Tensor, "C H W 1"] | None = None  # 2dgs
    normals: Float[Tensor, "C H W 3"] | None = None  # 2dgs: alpha-weighted, world space, facing the camera
    depth_normals: Float[Tensor, "C H W 3"] | None = None  # 2dgs: from the expected depth, times detached alpha
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BodyPose:
    """SMPL-X (or FLAME) parameters of B frames; `full_pose` is in the smplx package's joint order."""

    betas: Float[Tensor, "B S"]
    expression: Float[Tensor, "B E"]
    full_pose: Float[Tensor, "B J 3"]  # axis-angle, radians; joint 0 is the global orientation
    transl: Float[Tensor, "B 3"]  # metres

    def __len__(self) -> int:
        return self.full_pose.shape[0]

    def __getitem__(self, index: slice | Tensor | list[int]) -> BodyPose:
        return BodyPose(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device | str) -> BodyPose:
        return BodyPose(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True)
class DrivingSignal:
    """Everything a method may be driven by, for B frames. What a capture lacks is None."""

    frame: Int[Tensor, " B"]  # index in the capture; -1 where the frame belongs to none (new speech)
    pose: BodyPose
    audio: Float[Tensor, "B 8 T C"] | None = None  # windows of the 8 frames [i-4, i+4), features on the video clock

    def to(self, device: torch.device | str) -> DrivingSignal:
        audio = None if self.audio is None else self.audio.to(device)
        return DrivingSignal(self.frame.to(device), self.pose.to(device), audio)


@dataclass(frozen=True)
class Batch:
    """B frames of a capture with what drives them."""

    signal: DrivingSignal
    cameras: Cameras
    image: Float[Tensor, "B H W 3"]  # composited on `background`
    matte: Float[Tensor, "B H W 1"]
    background: Float[Tensor, " 3"]
    motion: BodyPose | None = None  # by which the pose changes from frame to frame there; betas are 0

    def to(self, device: torch.device | str) -> Batch:
        return Batch(
            self.signal.to(device),
            self.cameras.to(device),
            self.image.to(device),
            self.matte.to(device),
            self.background.to(device),
            None if self.motion is None else self.motion.to(device),
        )
