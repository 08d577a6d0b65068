"""A portrait that moves, written as an ordinary capture: what is fitted to it need not know of the one picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from scipy.spatial.transform import Rotation
from torch import Tensor

from talkingavatar.data.capture import RATE, CaptureWriter, Manifest, Table, paper_split
from talkingavatar.data.portrait.mesh_warp import MeshWarp
from talkingavatar.data.portrait.portrait import UPRIGHT, Portrait
from talkingavatar.geometry.rotations import axis_angle_to_matrix
from talkingavatar.geometry.similarity import head_rotation
from talkingavatar.networks.mesh_code import MotionLatent
from talkingavatar.types import BodyPose

POSE_NAMES = ("scale", "pitch", "yaw", "roll", "x", "y", "z")
GROWN = {"head": (0.2, 0.55, 0.2, 0.08), "mouth": (0.25,) * 4}  # shares of the landmarks' box, left, up, right, down


@dataclass(frozen=True)
class Still:
    """A portrait with the body that was fitted to it."""

    portrait: Portrait
    pose: BodyPose  # of the one frame
    viewmat: Float[Tensor, "4 4"]  # world to camera


def performed(source: MeshWarp, still: Still, motion: MotionLatent) -> MotionLatent:
    """A bank's motion as this person would do it: poses from the portrait's own, faces as they are."""
    own = source.read([still.portrait])
    return MotionLatent(motion.dyn, motion.pose + own.pose)


def rig_poses(source: MeshWarp, still: Still, motion: MotionLatent) -> BodyPose:
    """The rig in a motion: face, jaw and eyes as the code says, the head turned, the rest as in the portrait."""
    mesh, count = source.mesh, len(motion.dyn)
    values = motion.dyn @ source.to_rig.T
    expressions = still.pose.expression.shape[1]
    full_pose = still.pose.full_pose.repeat(count, 1, 1)
    full_pose[:, mesh.joints] = values[:, expressions:].unflatten(1, (-1, 3))
    full_pose[:, mesh.head] = _head_joint(source, still, motion.pose[:, 1:4])
    size = mesh.size(mesh.neutral(still.pose.betas))
    to_world = still.viewmat[:3, :3].T * still.viewmat.new_tensor(UPRIGHT)
    transl = still.pose.transl + size * motion.pose[:, 4:] @ to_world.T
    return BodyPose(still.pose.betas.expand(count, -1), values[:, :expressions].clamp(0, 1), full_pose, transl)


def _head_joint(source: MeshWarp, still: Still, angles: Float[Tensor, "T 3"]) -> Float[Tensor, "T 3"]:
    """The head's own rotation vectors under the portrait's neck, radians."""
    body = source.mesh.body
    parent = torch.eye(3)
    joint = body.parents[source.mesh.head]
    while joint >= 0:
        parent = axis_angle_to_matrix(still.pose.full_pose[0, joint]) @ parent
        joint = body.parents[joint]
    to_world = still.viewmat[:3, :3].T * still.viewmat.new_tensor(UPRIGHT)
    own = parent.T @ to_world @ head_rotation(angles)
    return torch.from_numpy(Rotation.from_matrix(own.double().numpy()).as_rotvec()).float()


def write_portrait(
    folder: Path,
    name: str,
    source: MeshWarp,
    still: Still,
    motion: MotionLatent,
    fps: float,
    heldout: float,
    shots: list[tuple[int, int]],
    tick: Callable[[], None],
    provenance: dict[str, Any],
) -> Manifest:
    """The capture of a portrait in a motion, silent; frames that are not valid are in it, and left out of both parts.

    Args:
        motion: as `performed` gives it.
        shots: start and stop of each take in it.
        heldout: share at the end that is never trained on.
        tick: called after each frame.
    """
    writer, count = CaptureWriter(folder), len(motion.dyn)
    unusable, why = [], {}
    for index, shown in enumerate(source.animate(still.portrait, motion)):
        writer.picture(index, shown.frame, shown.matte)
        writer.confidence(index, np.rint(255 * shown.confidence).astype(np.uint8))
        if not shown.valid:
            unusable.append(index)
            why[index] = shown.why
        tick()
    poses = rig_poses(source, still, motion)
    _write_tables(writer, source, still, motion, poses)
    writer.sound(np.zeros(round(count / fps * RATE), np.float32))
    width, height = still.portrait.size
    train, test = paper_split(count, heldout, 1)
    told = {"kind": "distilled", "latent": "mesh code (embedded)", "source": f"{source.name} {source.version}",
            "licence": source.licence, "code": source.provenance, "invalid": why}  # fmt: skip
    manifest = Manifest(name, fps, width, height, count, [train], [test], body={"smplx": source.mesh.body.checksum},
                        provenance=told | provenance, unusable=unusable, shots=shots)  # fmt: skip
    writer.finish(manifest)
    return manifest


def _write_tables(writer: CaptureWriter, source: MeshWarp, still: Still, motion: MotionLatent, poses: BodyPose) -> None:
    body = source.mesh.body
    writer.cameras(still.viewmat.numpy()[None, None], still.portrait.K[None, None])
    table = {name: getattr(poses, name).numpy() for name in ("expression", "full_pose", "transl")}
    writer.parameters("smplx", table | {"betas": still.pose.betas[0].numpy()}, body.expression_names)
    names = [f"dyn_{i}" for i in range(motion.dyn.shape[1])] + list(POSE_NAMES)
    writer.table("motion", Table(names, torch.cat([motion.dyn, motion.pose], 1).numpy()))
    points = _landmarks(source, still, poses)
    writer.landmarks(np.concatenate([points, np.ones_like(points[..., :1])], 2))
    width, height = still.portrait.size
    boxes = {"head": _box(points, "head", width, height), "mouth": _box(points[:, 48:], "mouth", width, height)}
    unseen = np.full((len(poses), 4), np.nan, np.float32)
    writer.regions(boxes | {"left_hand": unseen, "right_hand": unseen})


def _landmarks(source: MeshWarp, still: Still, poses: BodyPose) -> Float32[ndarray, "T 68 2"]:
    parts = [source.mesh.body.posed_landmarks(poses[start : start + 32]) for start in range(0, len(poses), 32)]
    seen = torch.cat(parts) @ still.viewmat[:3, :3].T + still.viewmat[:3, 3]
    pixels = seen @ torch.from_numpy(still.portrait.K).float().T
    return (pixels[..., :2] / pixels[..., 2:]).numpy()


def _box(points: Float32[ndarray, "T P 2"], region: str, width: int, height: int) -> Float32[ndarray, "T 4"]:
    low, high = points.min(1), points.max(1)
    left, up, right, down = GROWN[region]
    extent = high - low
    box = np.concatenate([low - extent * (left, up), high + extent * (right, down)], 1)
    return box.clip(0, (width, height, width, height)).astype(np.float32)
