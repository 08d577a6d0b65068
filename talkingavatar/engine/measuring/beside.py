"""What is measured beside the held-out frames: views from the side, and how far the fitted body is from the truth."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from talkingavatar.data.speaker.views import side_views
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.measuring.fit_results import evenly, joint_distance
from talkingavatar.engine.measuring.held_out import HeldOut
from talkingavatar.engine.measuring.keypoint_distance import keypoint_distance
from talkingavatar.engine.measuring.pictures import strip
from talkingavatar.engine.measuring.pixels import to_bytes
from talkingavatar.engine.measuring.tools import Tools
from talkingavatar.metrics.image import ImageMetrics
from talkingavatar.runtime.progress import ProgressBar

VIEW_FRAMES = 8
TRAINED_FRAMES = 60
PARTS = {"hand": "hands"}  # keypoints are grouped under the detector's names


@torch.no_grad()
def views(
    trained: FittedRun, held: HeldOut, tools: Tools, degrees: tuple[int, ...], folder: Path, skipped: dict[str, str]
) -> dict[str, float]:
    """PSNR, SSIM and LPIPS from the side, as `view_<degrees>/<metric>`, and a picture of them."""
    data, method = held.data, trained.method
    if data.config.data.name != "speaker":
        skipped |= {f"view_{d}": "no true picture from the side: only the embedded speaker has one" for d in degrees}
        return {}
    frames, pairs = evenly(held.frames, VIEW_FRAMES), []
    found: dict[str, float] = {}
    with ProgressBar("side views", len(frames) * len(degrees), data.config.trainer.progress) as bar:
        for angle in degrees:
            images = ImageMetrics(tools.lpips)
            for view in side_views(data.config.data, data.capture, frames, angle, bar.advance):
                matte = torch.from_numpy(view.matte).float()[..., None] / 255
                image = torch.from_numpy(view.image).float() / 255 + (1 - matte) * (data.background - 1)
                signal = data.signal([view.frame]).to(method.device)
                rendering = method.render(method.drive(signal), view.cameras.to(method.device))
                images.add(rendering.rgb[0], image.clamp(0, 1).to(method.device), {})
                if view.frame in frames[:: VIEW_FRAMES // 2]:
                    pairs.append((to_bytes(image), to_bytes(rendering.rgb[0])))
            found |= {key.replace("full/", f"view_{angle}/"): value for key, value in images.means().items()}
    if pairs:
        strip(pairs, f"from the side: {', '.join(map(str, degrees))} degrees", folder / "views.png")
    return found


def distances(trained: FittedRun, skipped: dict[str, str]) -> dict[str, float]:
    """THGS table 7 on trained frames, as `<start|tracked|fitted>/lmd_smplx/<hands|body|face>_px`."""
    method, data = trained.method, trained.data
    frames = evenly(data.train_frames, TRAINED_FRAMES)
    apart = joint_distance(method, data, frames) or keypoint_distance(method, data, frames)
    found = {}
    for name, value in apart.items():
        part, stage = name.split("/")
        found[f"{stage}/lmd_smplx/{PARTS.get(part, part)}_px"] = value
    report = data.capture.folder / "work" / "report.json"
    if report.is_file():
        first = next(iter(json.loads(report.read_text())["landmark_distance_px"].values()))
        found |= {f"start/lmd_smplx/{PARTS.get(part, part)}_px": value for part, value in first.items()}
    else:
        skipped["start"] = "this capture was not made by preprocess: it has no start of an alignment"
    if not apart:
        skipped["lmd_smplx"] = skipped["tracked"] = skipped["fitted"] = "neither true joints nor keypoints are known"
    return found
