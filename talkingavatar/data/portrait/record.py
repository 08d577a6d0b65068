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

from talkingavatar.body.body import Body
from talkingavatar.body.models import load_body
from talkingavatar.data.capture import FRONT, CaptureWriter, Manifest, Table
from talkingavatar.data.mesh_motion import FPS
from talkingavatar.data.portrait.mesh_warp import MeshWarp
from talkingavatar.data.portrait.portrait import UPRIGHT, Portrait
from talkingavatar.data.portrait.script import Script
from talkingavatar.data.speaker.record import BodyParameters, head_parameters
from talkingavatar.geometry.rotations import axis_angle_to_matrix, rotation_between
from talkingavatar.geometry.similarity import head_rotation
from talkingavatar.networks.mesh_code import MotionLatent
from talkingavatar.types import BodyPose

RECORD_VERSION = 4  # raise when the same portrait and script would give other pictures or tables
POSE_NAMES = ("scale", "pitch", "yaw", "roll", "x", "y", "z")
GROWN = {"head": (0.2, 0.55, 0.2, 0.08), "mouth": (0.25,) * 4}  # shares of the landmarks' box, left, up, right, down


@dataclass(frozen=True)
class Still:
    """A portrait with the body that was fitted to it."""

    portrait: Portrait
    pose: BodyPose  # of the one frame
    viewmat: Float[Tensor, "4 4"]  # world to camera


@dataclass(frozen=True)
class Truth:
    """What is known of a person who is drawn: a true picture of every frame can be made."""

    values: Float[Tensor, "T P"]  # of face, jaw and eyes in each frame (`data.mesh_motion.rig_values`)
    views: dict[str, tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]]  # by name, K and viewmat


def performed(source: MeshWarp, still: Still, motion: MotionLatent) -> MotionLatent:
    """A bank's motion as this person would do it: poses from the portrait's own, faces as they are."""
    own = source.read([still.portrait])
    return MotionLatent(motion.dyn, motion.pose + own.pose)


def rig_poses(source: MeshWarp, still: Still, motion: MotionLatent, values: Float[Tensor, "T P"]) -> BodyPose:
    """The rig in a motion: the head where the latent says, by bending the neck, the shoulders as in the portrait.

    Args:
        values: of face, jaw and eyes (`data.mesh_motion.rig_values`).
    """
    mesh, pose, count = source.mesh, still.pose, len(motion.dyn)
    body, expressions = mesh.body, pose.expression.shape[1]
    to_world = still.viewmat[:3, :3].T * still.viewmat.new_tensor(UPRIGHT)
    moved = mesh.size(still.portrait.neutral[None]) * motion.pose[:, 4:] @ to_world.T
    full_pose = pose.full_pose.repeat(count, 1, 1)
    full_pose[:, mesh.joints] = values[:, expressions:].unflatten(1, (-1, 3))
    neck = int(body.parents[mesh.head])
    _, joints = body(pose)
    length = joints[0, mesh.head] - joints[0, neck]
    bend = rotation_between(length.expand(count, 3), length + moved)
    below = _turned(body, pose, int(body.parents[neck]))
    bent = bend @ _turned(body, pose, neck)
    full_pose[:, neck] = _rotation_vectors(below.T @ bent)
    full_pose[:, mesh.head] = _rotation_vectors(bent.mT @ to_world @ head_rotation(motion.pose[:, 1:4]))
    transl = pose.transl + moved - (bend @ length - length)  # what a neck of one length cannot reach
    return BodyPose(pose.betas.expand(count, -1), values[:, :expressions].clamp(0, 1), full_pose, transl)


def _turned(body: Body, pose: BodyPose, joint: int) -> Float[Tensor, "3 3"]:
    """A joint's rotation in the world, of the one frame."""
    turned = torch.eye(3)
    while joint >= 0:
        turned = axis_angle_to_matrix(pose.full_pose[0, joint]) @ turned
        joint = int(body.parents[joint])
    return turned


def _rotation_vectors(rotations: Float[Tensor, "T 3 3"]) -> Float[Tensor, "T 3"]:
    return torch.from_numpy(Rotation.from_matrix(rotations.double().numpy()).as_rotvec()).float()


def write_portrait(
    folder: Path,
    name: str,
    source: MeshWarp,
    still: Still,
    script: Script,
    heldout: float,
    tick: Callable[[], None],
    provenance: dict[str, Any],
    truth: Truth | None = None,
) -> Manifest:
    """The capture of a portrait that performs; frames that are not valid are in it, and left out of both parts.

    Args:
        heldout: share at the end that is never trained on.
        tick: called after each frame.
        truth: of a person who is known.
    """
    sides = {} if truth is None else truth.views
    writer, motion = CaptureWriter(folder), performed(source, still, script.motion)
    why = _write_pictures(writer, source, still, motion, tick)
    Ks, viewmats = zip((still.portrait.K, still.viewmat.numpy()), *sides.values(), strict=True)
    writer.cameras(np.stack(viewmats)[:, None], np.stack(Ks)[:, None])
    poses = rig_poses(source, still, motion, motion.dyn @ source.to_rig.T)
    _write_tables(writer, source, still, motion, poses)
    if truth is not None:
        _write_poses(writer, source, still, rig_poses(source, still, motion, truth.values), truth=True)
    writer.sound(script.sound())
    width, height = still.portrait.size
    train, test = script.split(heldout)
    told = {"kind": "distilled", "latent": "mesh code (embedded)", "source": f"{source.name} {source.version}",
            "licence": source.licence, "code": source.provenance, "invalid": why,
            "said": [{"voice": take.voice, "second": take.begin + first / FPS, "frames": frames}
                     for take, first, frames in script.stretches]}  # fmt: skip
    manifest = Manifest(name, FPS, width, height, len(script), [train], [test], [FRONT, *sides], list(sides),
                        body={"smplx": source.mesh.body.checksum, "flame": load_body("open_flame").checksum},
                        provenance=told | provenance, unusable=list(why), shots=script.shots)  # fmt: skip
    writer.finish(manifest)
    return manifest


def _write_pictures(
    writer: CaptureWriter, source: MeshWarp, still: Still, motion: MotionLatent, tick: Callable[[], None]
) -> dict[int, str]:
    """Every frame; those that are not to be learned from, with why."""
    why = {}
    for index, shown in enumerate(source.animate(still.portrait, motion)):
        writer.picture(index, shown.frame, shown.matte)
        writer.confidence(index, np.rint(255 * shown.confidence).astype(np.uint8))
        if not shown.valid:
            why[index] = shown.why
        tick()
    return why


def _write_tables(writer: CaptureWriter, source: MeshWarp, still: Still, motion: MotionLatent, poses: BodyPose) -> None:
    points = _write_poses(writer, source, still, poses)
    names = [f"dyn_{i}" for i in range(motion.dyn.shape[1])] + list(POSE_NAMES)
    writer.table("motion", Table(names, torch.cat([motion.dyn, motion.pose], 1).numpy()))
    width, height = still.portrait.size
    boxes = {"head": _box(points, "head", width, height), "mouth": _box(points[:, 48:], "mouth", width, height)}
    unseen = np.full((len(poses), 4), np.nan, np.float32)
    writer.regions(boxes | {"left_hand": unseen, "right_hand": unseen})


def _write_poses(
    writer: CaptureWriter, source: MeshWarp, still: Still, poses: BodyPose, truth: bool = False
) -> Float32[ndarray, "T 68 2"]:
    """The body's table, its head's, and their landmarks, which are returned, pixels."""
    body = source.mesh.body
    table = {name: getattr(poses, name).numpy() for name in ("expression", "full_pose", "transl")}
    whole = BodyParameters(still.pose.betas[0].numpy(), **table)
    writer.parameters("smplx", vars(whole), body.expression_names, truth)
    writer.parameters("flame", vars(head_parameters(whole, body)), body.expression_names, truth)
    points = _landmarks(source, still, poses)
    writer.landmarks(np.concatenate([points, np.ones_like(points[..., :1])], 2), truth)
    return points


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
