"""How far the body of a fit is from the true one, or from what was seen: the landmark distance of THGS table 7."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.keypoints import KeypointBody
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine.measuring.held_out import evenly
from talkingavatar.engine.measuring.measure import Findings, Measure
from talkingavatar.geometry.cameras import project
from talkingavatar.methods.base import Method
from talkingavatar.preprocessing.alignment.observations import CONFIDENT, GROUPS, LIPS
from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.types import BodyPose, Cameras

FRAMES = 60
PARTS = {"hand": "hands"}  # keypoints are grouped under the detector's names


class BodyDistance(Measure):
    """THGS table 7 on trained frames, as `<start|tracked|fitted>/lmd_smplx/<hands|body|face>_px`."""

    keys = ("lmd_smplx", "start", "tracked", "fitted")
    needs = ("avatar",)
    of_run = True
    definitions: ClassVar = {
        "lmd_smplx": "pixels, trained frames: projected joints of the fitted body to the true ones, or its keypoints "
        "to those detected",
    }

    def finish(self, found: Findings, truth: Findings) -> Findings:
        avatar = self.setting.avatar
        assert avatar is not None
        method, data = avatar.method, avatar.data
        frames, findings = evenly(data.train_frames, FRAMES), Findings()
        apart = joint_distance(method, data, frames) or keypoint_distance(method, data, frames)
        for name, value in apart.items():
            part, stage = name.split("/")
            findings.metrics[f"{stage}/lmd_smplx/{PARTS.get(part, part)}_px"] = value
        if not apart:
            why = "neither true joints nor keypoints are known"
            findings.skipped |= dict.fromkeys(("lmd_smplx", "tracked", "fitted"), why)
        report = data.capture.folder / "work" / "report.json"
        if report.is_file():
            first = next(iter(json.loads(report.read_text())["landmark_distance_px"].values()))
            findings.metrics |= {f"start/lmd_smplx/{PARTS.get(part, part)}_px": v for part, v in first.items()}
        else:
            findings.skipped["start"] = "this capture was not made by preprocess: it has no start of an alignment"
        return findings


class PoseError(Measure):
    """The same at the end of a fit, apart for joints and keypoints, trained and held-out frames."""

    keys = ("train/joints_px",)
    needs = ("avatar", "brief")
    of_run = True
    at_end = True

    def finish(self, found: Findings, truth: Findings) -> Findings:
        avatar = self.setting.avatar
        assert avatar is not None
        method, data, findings = avatar.method, avatar.data, Findings()
        apart = joint_distance(method, data, evenly(data.train_frames, FRAMES))
        findings.metrics |= {f"train/joints_px/{key}": value for key, value in apart.items()}
        if not apart:
            findings.skipped["train/joints_px"] = "the capture has no true parameters"
        for part, frames in (("train", data.train_frames), ("heldout", data.capture.test_frames)):
            apart = keypoint_distance(method, data, evenly(frames, FRAMES))
            findings.metrics |= {f"{part}/keypoints_px/{key}": value for key, value in apart.items()}
        return findings


def joint_distance(method: Method, data: CaptureData, frames: list[int]) -> dict[str, float]:
    """Mean distance in pixels of projected joints to the true ones, as `<part>/<tracked|fitted>`.

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


def keypoint_distance(method: Method, data: CaptureData, frames: list[int]) -> dict[str, float]:
    """Mean distance in pixels to the detected keypoints, as `<part>/<tracked|fitted>`; {} for a capture without any.

    `tracked` is what alignment gave, `fitted` what the method has learned about these frames. A part that is not
    seen in them has no key.
    """
    file = data.capture.folder / "keypoints.npz"
    if not file.is_file() or not frames:
        return {}
    seen = torch.from_numpy(Keypoints.load(file).points[frames]).to(method.device)
    model = KeypointBody(method.body).to(method.device)
    offsets = data.capture.keypoint_offsets(data.model)
    cameras = data.capture.cameras(frames).to(method.device)
    poses = {
        "tracked": data.capture.pose(frames, data.model).to(method.device),
        "fitted": fitted_pose(method, data, frames),
    }
    found = {}
    for name, pose in poses.items():
        points, _ = model(pose, None if offsets is None else offsets.to(method.device))
        apart = (project(points, cameras)[:, : seen.shape[1]] - seen[..., :2]).norm(dim=-1)
        for part, rows in {**GROUPS, "lips": (LIPS,)}.items():
            chosen = torch.zeros(seen.shape[1], dtype=torch.bool, device=apart.device)
            for row in rows:
                chosen[row] = True
            counted = (seen[..., 2] > CONFIDENT) & apart.isfinite() & chosen & model.known[: seen.shape[1]]
            if counted.any():
                found[f"{part}/{name}"] = float(apart[counted].mean())
    return found


def fitted_pose(method: Method, data: CaptureData, frames: list[int]) -> BodyPose:
    """The poses these frames are drawn in: as tracked, with what the method has learned about them."""
    learned = [method.refined_pose(data.signal([f]).to(method.device)) for f in frames]
    return BodyPose(**{f.name: torch.cat([getattr(p, f.name) for p in learned]) for f in fields(BodyPose)})
