"""One run under one condition: its frames are drawn once, everything is measured on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar.config.protocol import Condition
from talkingavatar.engine.driver import required, spoken
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.measuring.held_out import HeldOut
from talkingavatar.engine.measuring.pixels import VideoMeasure, VideoScores, finite, seen_points, to_bytes
from talkingavatar.engine.measuring.pose_alignment import aligned_signal
from talkingavatar.engine.measuring.tools import Tools
from talkingavatar.errors import UserError
from talkingavatar.geometry.cameras import project
from talkingavatar.metrics.action_units import AuEstimator, au_error
from talkingavatar.metrics.image import ImageMetrics
from talkingavatar.metrics.landmarks import PARTS, landmark_distances, lmd
from talkingavatar.metrics.motion import JitterMeter, acceleration_error
from talkingavatar.runtime.progress import track
from talkingavatar.types import BodyPose, DrivingSignal

SHOWN = 5  # pairs of pictures kept to be looked at


@dataclass
class Scored:
    """What came of it; `pairs` are ground truth and render of a few frames."""

    scores: VideoScores
    pairs: list[tuple[UInt8[ndarray, "H W 3"], UInt8[ndarray, "H W 3"]]] = field(default_factory=list)


def measure_truth(held: HeldOut, tools: Tools, show: bool, check: Callable[[], None]) -> VideoScores:
    """The ground truth scored as if it were a render."""
    motion = MotionMeter(held)
    with VideoMeasure(held, tools) as video:
        for i, frame in track(list(enumerate(held.frames)), "ground truth", len(held.frames), show):
            check()
            video.add(held.data.batch([frame]).image[0])
            motion.add(i, held.pose[[i]])
        scores = video.finish()
    if held.known:
        scores.metrics |= motion.values()
    else:
        why = "the capture does not know its true parameters"
        scores.skipped |= {"jitter/joints_px": why, "jitter/rotations_deg": why}
    return scores


@torch.no_grad()
def score(
    trained: FittedRun,
    held: HeldOut,
    truth: VideoScores,
    condition: Condition,
    tools: Tools,
    title: str,
    check: Callable[[], None],
) -> Scored:
    """All numbers of the held-out frames. `check` may raise to stop."""
    method, data = trained.method, held.data
    images, motion = ImageMetrics(tools.lpips), MotionMeter(held)
    shown = set(np.linspace(0, len(held.frames) - 1, SHOWN).round().astype(int).tolist())
    pairs = []
    said = _spoken(trained, held, condition)
    with VideoMeasure(held, tools) as video:
        for i, frame in track(list(enumerate(held.frames)), title, len(held.frames), data.config.trainer.progress):
            check()
            batch = data.batch([frame])
            signal = data.signal([frame], condition.silence) if said is None else said[i : i + 1]
            batch = replace(batch, signal=signal).to(method.device)
            signal = aligned_signal(method, batch) if condition.align else batch.signal
            rendering = method.render(method.drive(signal), batch.cameras)
            images.add(rendering.rgb[0], batch.image[0], held.boxes[i], batch.matte[0])
            video.add(rendering.rgb[0])
            motion.add(i, method.refined_pose(signal).to("cpu"))
            if i in shown:
                pairs.append((to_bytes(batch.image[0]), to_bytes(rendering.rgb[0])))
        scores = video.finish()
    scores.metrics = images.means() | scores.metrics | motion.values()
    scores.metrics |= dict(finite(against_truth(scores, truth, held), scores.skipped))
    scores.skipped |= {f"{region}/psnr": "out of sight in all held-out frames"
                       for region in ("hands", "mouth", "head") if f"{region}/psnr" not in scores.metrics}  # fmt: skip
    return Scored(scores, pairs)


def _spoken(trained: FittedRun, held: HeldOut, condition: Condition) -> DrivingSignal | None:
    """What the driver foretells of the held-out frames; None where the condition does not ask for it."""
    if not condition.spoken:
        return None
    driver = required(trained.driver, held.data.config.experiment)
    return spoken(held.data, driver, held.frames, condition.silence)


class MotionMeter:
    """Jitter of the motion that drives: projected joints in pixels, rotations in degrees."""

    def __init__(self, held: HeldOut) -> None:
        self.held = held
        self.joints, self.rotations = JitterMeter(), JitterMeter()

    def add(self, i: int, pose: BodyPose) -> None:
        """The i-th frame's pose, on the CPU."""
        if any(start == i for start, _ in self.held.shots[1:]):
            self.joints.cut()
            self.rotations.cut()
        cameras = self.held.data.capture.cameras([self.held.frames[i]])
        self.joints.add(project(self.held.body(pose)[1], cameras)[0].numpy())
        self.rotations.add(torch.rad2deg(pose.full_pose[0]).numpy())

    def values(self) -> dict[str, float]:
        """By key."""
        return {"jitter/joints_px": self.joints.value(), "jitter/rotations_deg": self.rotations.value()}


def against_truth(scores: VideoScores, truth: VideoScores, held: HeldOut) -> dict[str, float]:
    """What needs both videos: landmark distance, accelerations, facial actions, jitter beside the truth's own."""
    found: dict[str, float] = {}
    for key in ("landmarks_px", "mouth_px", "colours", "joints_px", "rotations_deg"):
        own, reference = scores.metrics.get(f"jitter/{key}"), truth.metrics.get(f"jitter/{key}")
        if own is not None and reference:
            found[f"jitter_ratio/{key}"] = own / reference
    if scores.identity is not None and truth.identity is not None:
        found["identity/cosine"] = float((scores.identity * truth.identity).sum(-1).mean())
    a, b = scores.landmarks, truth.landmarks
    if a is None or b is None:
        return found
    found["lmd/mouth_px"] = lmd(a, b, "mouth")
    found["lmd/face_px"] = landmark_distances(a, b, PARTS)["face"]
    found["acceleration_error/landmarks_px"] = acceleration_error(seen_points(a), seen_points(b), held.shots)
    ours, true = (seen_points(marks[:, PARTS["mouth"]]) for marks in (a, b))
    found["acceleration_error/mouth_px"] = acceleration_error(ours, true, held.shots)
    try:
        return found | actions(a, b, held)
    except UserError as error:  # a body whose expressions have no names: a skip, no mistake
        scores.skipped["au"] = str(error)
        return found


def actions(a: Float[ndarray, "T 68 3"], b: Float[ndarray, "T 68 3"], held: HeldOut) -> dict[str, float]:
    """Error and correlation of facial actions, estimated from both sets of landmarks alike."""
    estimator = AuEstimator(held.body)
    cameras = held.data.capture.cameras(held.frames)
    ours, true = (estimator.estimate(marks, held.pose, cameras) for marks in (a, b))
    compared = au_error(ours, true, estimator.names)
    moving = [value for name, value in compared.items() if name.startswith("r/") and np.isfinite(value)]
    compared["mean_r"] = float(np.mean(moving)) if moving else float("nan")
    return {f"au/landmark_fit/{name}": value for name, value in compared.items()}
