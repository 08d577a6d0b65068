"""How far the body of a fit is from what was seen in the clip: the paper's landmark distance (THGS table 7)."""

from dataclasses import fields

import torch

from talkingavatar.body.keypoints import KeypointBody
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.geometry.cameras import project
from talkingavatar.methods.base import Method
from talkingavatar.preprocessing.alignment.observations import CONFIDENT, GROUPS, LIPS
from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.types import BodyPose


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
