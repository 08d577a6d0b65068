"""The numbers of a finished fit: held-out image metrics, pose error of trained frames, speed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.data.capture import REGIONS
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.drivers.driver import Driver
from talkingavatar.engine.driver import spoken
from talkingavatar.engine.measuring.keypoint_distance import fitted_pose, keypoint_distance
from talkingavatar.engine.measuring.pose_alignment import aligned_signal
from talkingavatar.engine.measuring.speed import measure_speed
from talkingavatar.geometry.cameras import project
from talkingavatar.methods.base import Method
from talkingavatar.metrics.image import ImageMetrics
from talkingavatar.metrics.lpips import Lpips
from talkingavatar.metrics.suite import SUITE_VERSION
from talkingavatar.networks.perceptual import find_backbone
from talkingavatar.runtime.progress import track
from talkingavatar.types import BodyPose, Cameras

PROTOCOLS = {"heldout": "", "aligned": ", aligned", "spoken": ", from sound"}  # with what the table says of them
ROWS = {
    "full": "full frame",
    "matte": "inside the matte",
    "head": "head",
    "mouth": "mouth",
    "left_hand": "left hand",
    "right_hand": "right hand",
}


@dataclass
class Results:
    """`metrics` by key, e.g. `heldout/head/psnr`; `skipped` says why a number is not there."""

    metrics: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, Any] = field(default_factory=dict)


def evenly(frames: list[int], count: int) -> list[int]:
    """`count` of the frames, evenly spaced; all of them for 0."""
    if count <= 0 or count >= len(frames):
        return frames
    return [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]


@torch.no_grad()
def measure(method: Method, data: CaptureData, check: Callable[[], None], driver: Driver | None = None) -> Results:
    """Image metrics on held-out frames, pose error on trained frames, speed. `check` may raise to stop.

    `heldout/` is driven as tracked, `aligned/` with the pose aligned to the picture first (see `pose_alignment`),
    `spoken/` with those parts of the pose that a driver foretells from the sound.
    """
    config = data.config
    results = Results()
    networks: dict[str, Lpips] = {}
    for name in config.metrics.lpips:
        backbone = find_backbone(name, config.metrics.weights)
        if backbone.path is None:
            results.skipped[f"lpips_{name}"] = backbone.why_skipped
        else:
            networks[name] = Lpips(backbone, method.device)
            results.definitions[f"lpips_{name}"] = {"file": backbone.path.name, "sha256": backbone.checksum()}
    frames = evenly(data.capture.test_frames, config.budget.heldout_frames)
    aligned = evenly(frames, config.budget.aligned_frames) if config.budget.aligned_frames else []
    protocols = {name: ImageMetrics(networks) for name in PROTOCOLS}
    said = None if driver is None else spoken(data, driver, frames)
    for frame in track(frames, "held-out frames", len(frames), config.trainer.progress):
        check()
        batch = data.batch([frame]).to(method.device)
        boxes = {region: data.capture.regions[region][frame] for region in REGIONS}
        signals = {"heldout": batch.signal}
        if frame in aligned:
            signals["aligned"] = aligned_signal(method, batch)
        if said is not None:
            i = frames.index(frame)
            signals["spoken"] = said[i : i + 1].to(method.device)
        for protocol, signal in signals.items():
            rendering = method.render(method.drive(signal), batch.cameras)
            protocols[protocol].add(rendering.rgb[0], batch.image[0], boxes, batch.matte[0])
    results.metrics = {f"{p}/{key}": value for p, images in protocols.items() for key, value in images.means().items()}
    results.definitions |= {"suite": SUITE_VERSION, "heldout_frames": frames, "aligned_frames": aligned}
    results.metrics |= measure_speed(method, data, frames=10, warm_up=2)
    apart = joint_distance(method, data, evenly(data.train_frames, 60))
    results.metrics |= {f"train/joints_px/{key}": value for key, value in apart.items()}
    if not apart:
        results.skipped["train/joints_px"] = "the capture has no true parameters"
    for part, frames in (("train", data.train_frames), ("heldout", data.capture.test_frames)):
        apart = keypoint_distance(method, data, evenly(frames, 60))
        results.metrics |= {f"{part}/keypoints_px/{key}": value for key, value in apart.items()}
    return results


def joint_distance(method: Method, data: CaptureData, frames: list[int]) -> dict[str, float]:
    """Mean distance in pixels of projected joints to the true ones, as `<part>/<tracked|fitted>` (THGS table 7).

    {} for a capture that does not know its true parameters.
    """
    truth = data.capture.true_pose(frames, data.model)
    if truth is None:
        return {}
    cameras = data.capture.cameras(frames).to(method.device)
    true = _joints2d(method, truth.to(method.device), cameras)
    poses = {
        "tracked": data.capture.pose(frames, data.model).to(method.device),
        "fitted": fitted_pose(method, data, frames),
    }
    errors = {}
    for name, pose in poses.items():
        distance = (_joints2d(method, pose, cameras) - true).norm(dim=-1).mean(0)
        for part, joints in joint_groups(method.body).items():
            errors[f"{part}/{name}"] = float(distance[joints].mean())
    return errors


def joint_groups(body: Body) -> dict[str, list[int]]:
    """Joint numbers of hands (fingers), face (jaw, eyes) and body (the rest)."""
    groups: dict[str, list[int]] = {"hands": [], "body": [], "face": []}
    for number, name in enumerate(body.joint_names):
        finger = any(part in name for part in ("thumb", "index", "middle", "ring", "pinky"))
        groups["hands" if finger else "face" if "jaw" in name or "eye" in name else "body"].append(number)
    return {name: joints for name, joints in groups.items() if joints}


def _joints2d(method: Method, pose: BodyPose, cameras: Cameras) -> Float[Tensor, "B J 2"]:
    return project(method.body(pose)[1], cameras)


def table(results: Results) -> list[dict[str, Any]]:
    """The final table, a dict a row; a cell without a number says why."""
    columns = {"PSNR": "psnr", "SSIM": "ssim"}
    names = [k.split("/")[-1] for k in results.metrics if k.startswith("heldout/full/lpips")]
    names += [k for k in results.skipped if k.startswith("lpips")]
    columns |= {f"LPIPS {n.removeprefix('lpips_')}": n for n in names}
    rows = []
    for protocol, region in [(p, r) for p in PROTOCOLS for r in ROWS]:
        if f"{protocol}/{region}/psnr" not in results.metrics:
            continue
        row: dict[str, Any] = {"held-out": ROWS[region] + PROTOCOLS[protocol]}
        for column, key in columns.items():
            value = results.metrics.get(f"{protocol}/{region}/{key}")
            digits = 2 if key == "psnr" else 4
            absent = "" if region == "matte" else "skipped"
            row[column] = absent if value is None else f"{value:.{digits}f}"
        rows.append(row)
    return rows
