"""What is measured beside the held-out frames: held-out views, and how far the fitted body is from the truth."""

from __future__ import annotations

import json
from pathlib import Path

import torch

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
    trained: FittedRun, held: HeldOut, tools: Tools, chosen: tuple[str, ...], folder: Path, skipped: dict[str, str]
) -> dict[str, float]:
    """PSNR, SSIM and LPIPS in views never trained on, as `view_<name>/<metric>`, and a picture of them."""
    data, method = held.data, trained.method
    there = data.capture.manifest.test_views
    known = {view: data.capture.seen_by(view, held.frames) for view in chosen if view in there}
    frames = {view: evenly(few, VIEW_FRAMES) for view, few in known.items() if few}
    reason = f"no pictures of such a held-out view; there are {', '.join(there) or 'none'}"
    skipped |= {f"view_{view}": reason for view in chosen if view not in frames}
    pairs = []
    found: dict[str, float] = {}
    with ProgressBar("held-out views", sum(map(len, frames.values())), data.config.trainer.progress) as bar:
        for view, few in frames.items():
            images, batch = ImageMetrics(tools.lpips), data.batch(few, view=view)
            for i in range(len(few)):
                seen = batch.frame(i).to(method.device)
                image = seen.image[0].clamp(0, 1)
                rendering = method.render(method.drive(seen.signal), seen.cameras)
                images.add(rendering.rgb[0], image, {})
                if i % (VIEW_FRAMES // 2) == 0:
                    pairs.append((to_bytes(image), to_bytes(rendering.rgb[0])))
                bar.advance()
            found |= {key.replace("full/", f"view_{view}/"): value for key, value in images.means().items()}
    if pairs:
        strip(pairs, f"held-out views: {', '.join(frames)}", folder / "views.png")
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
