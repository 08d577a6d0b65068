"""The data that passes between parts, with shapes.

Conventions: metres, seconds, radians, pixels. Quaternions (w, x, y, z). Cameras have OpenCV axes (x right, y down,
z forward) and pixel centres at +0.5. Images are float RGB in [0, 1], shape (H, W, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

Tree = TypeVar("Tree", bound="TensorTree")
Frames = TypeVar("Frames", bound="FrameTree")


class TensorTree:
    """Base of frozen dataclasses whose fields are tensors, other trees, None or plain values."""

    def to(self: Tree, device: torch.device | str) -> Tree:
        """All tensors on a device; to a GPU, pinned ones are sent without the host's waiting for it."""
        ahead = torch.device(device).type != "cpu"  # there, who reads them at once needs them whole

        def sent(value: Any) -> Any:
            return value.to(device, non_blocking=ahead) if isinstance(value, Tensor) else value.to(device)

        return self._each(sent)

    def pinned(self: Tree) -> Tree:
        """Those on the CPU in memory that a GPU reads by itself."""
        return self._each(pinned)

    def detach(self: Tree) -> Tree:
        """The same tensors without what made them."""
        return self._each(lambda value: value.detach())

    def _each(self: Tree, change: Callable[[Any], Any]) -> Tree:
        changed = {
            f.name: change(value)
            for f in fields(cast(Any, self))
            if isinstance(value := getattr(self, f.name), Tensor | TensorTree)
        }
        return replace(cast(Any, self), **changed)


def pinned(value: Any) -> Any:
    """A batch, whatever it is made of, in memory that a GPU reads by itself."""
    if isinstance(value, Tensor):
        return value.pin_memory() if value.device.type == "cpu" else value
    if isinstance(value, TensorTree):
        return value.pinned()
    return type(value)(*map(pinned, value)) if isinstance(value, tuple) else value


class FrameTree(TensorTree):
    """A tree all of whose tensors have a row a frame."""

    def __getitem__(self: Frames, index: slice | Tensor | list[int]) -> Frames:
        """Some of the frames."""
        return self._each(lambda value: value[index])

    @classmethod
    def cat(cls: type[Frames], trees: Sequence[Frames]) -> Frames:
        """The frames of all, one after the other; a field must be None in all or in none."""
        joined: dict[str, Any] = {}
        for f in fields(cast(Any, cls)):
            values = [getattr(tree, f.name) for tree in trees]
            if any(value is None for value in values):
                assert all(value is None for value in values), f"{f.name} is None in some"
                joined[f.name] = None
            else:
                joined[f.name] = type(values[0]).cat(values) if isinstance(values[0], FrameTree) else torch.cat(values)
        return cls(**joined)


@dataclass(frozen=True)
class Cameras(TensorTree):
    """C pinhole cameras that share one image size."""

    viewmats: Float[Tensor, "C 4 4"]  # world to camera
    Ks: Float[Tensor, "C 3 3"]  # intrinsics, pixels
    width: int
    height: int

    def __len__(self) -> int:
        return self.viewmats.shape[0]


@dataclass(frozen=True)
class Gaussians(TensorTree):
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
class BodyPose(FrameTree):
    """SMPL-X (or FLAME) parameters of B frames; `full_pose` is in the smplx package's joint order."""

    betas: Float[Tensor, "B S"]
    expression: Float[Tensor, "B E"]
    full_pose: Float[Tensor, "B J 3"]  # axis-angle, radians; joint 0 is the global orientation
    transl: Float[Tensor, "B 3"]  # metres

    def __len__(self) -> int:
        return self.full_pose.shape[0]


@dataclass(frozen=True)
class DrivingSignal(FrameTree):
    """Everything a method may be driven by, for B frames (`data.inputs`). What a capture lacks is None."""

    frame: Int[Tensor, " B"]  # index in the capture; -1 where the frame belongs to none (new speech)
    pose: BodyPose
    audio: Float[Tensor, "B 8 T C"] | None = None  # windows of the 8 frames [i-4, i+4), features on the video clock
    latent: Float[Tensor, "B D"] | None = None  # of 2D motion
    actions: Float[Tensor, "B 17"] | None = None  # intensities 0 to 5 of OpenFace's action units
    emotion: Float[Tensor, "B E"] | None = None  # share of each

    def __len__(self) -> int:
        return len(self.frame)

    def to(self, device: torch.device | str) -> DrivingSignal:
        """All tensors on a device but the frames' numbers: what is known of a frame is looked up by the host."""
        return replace(super().to(device), frame=self.frame.cpu())


@dataclass(frozen=True)
class Batch(TensorTree):
    """B frames of a capture with what drives them."""

    signal: DrivingSignal
    cameras: Cameras
    image: Float[Tensor, "B H W 3"]  # composited on `background`
    matte: Float[Tensor, "B H W 1"]
    background: Float[Tensor, " 3"]
    motion: DrivingSignal | None = None  # change of each input from frame to frame there (`data.inputs`)
    weight: Float[Tensor, "B H W 1"] | None = None  # of each pixel in the image losses; None: all alike
    view: str = ""  # whose pictures they are

    def __len__(self) -> int:
        return len(self.image)

    def frame(self, i: int) -> Batch:
        """The i-th frame alone."""
        rows = slice(i, i + 1)
        cameras = self.cameras
        return Batch(
            self.signal[rows],
            replace(cameras, viewmats=cameras.viewmats[rows], Ks=cameras.Ks[rows]),
            self.image[rows],
            self.matte[rows],
            self.background,
            None if self.motion is None else self.motion[rows],
            None if self.weight is None else self.weight[rows],
            self.view,
        )


Layers = dict[str, Gaussians]  # by name; the last one is shown


@dataclass(frozen=True)
class Shot(TensorTree):
    """One view that a step draws of one layer."""

    layer: str
    cameras: Cameras
    background: Float[Tensor, " 3"]
    grows: bool = True  # whether density control counts its gradients
    frozen: bool = False  # whether its losses leave what made the Gaussians alone
