"""How unsteady picture and motion are in time."""

from __future__ import annotations

from typing import ClassVar

import torch

from talkingavatar.engine.measuring.measure import Findings, Measure, Picture, Setting
from talkingavatar.geometry.cameras import project
from talkingavatar.metrics.motion import JitterMeter, sample_colours
from talkingavatar.types import Batch, DrivingSignal

COMPARED = ("landmarks_px", "mouth_px", "colours", "joints_px", "rotations_deg")


class SkinFlicker(Measure):
    """Jitter of the colours of places of the skin."""

    keys = ("jitter/colours",)
    needs = ("frames", "pictures", "face")
    definitions: ClassVar = {
        "jitter": "RMS of the fourth difference over its gain for white noise: the standard deviation of as much white "
        "noise. Landmarks, mouth and joints in pixels, rotations in degrees, colours at places of the skin in 0 to 255",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.colours = JitterMeter()

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        assert shown is not None
        if self.held.cut(i):
            self.colours.cut()
        self.colours.add(255 * sample_colours(shown.image.clamp(0, 1), self.held.skin[i]))

    def finish(self, found: Findings, truth: Findings) -> Findings:
        key = self.keys[0]
        return Findings({key: self.colours.value()}, per_frame={key: self.colours.by_frame()})


class MotionJitter(Measure):
    """Jitter of the motion that drives: projected joints in pixels, rotations in degrees."""

    keys = ("jitter/joints_px", "jitter/rotations_deg")
    needs = ("frames", "pictures", "motion")

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.joints, self.rotations = JitterMeter(), JitterMeter()

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        if self.held.cut(i):
            self.joints.cut()
            self.rotations.cut()
        cameras = self.held.pictures.capture.cameras([self.held.frames[i]])
        self.joints.add(project(self.held.body(signal.pose)[1], cameras)[0].numpy())
        self.rotations.add(torch.rad2deg(signal.pose.full_pose[0]).numpy())

    def finish(self, found: Findings, truth: Findings) -> Findings:
        meters = dict(zip(self.keys, (self.joints, self.rotations), strict=True))
        return Findings(
            {key: meter.value() for key, meter in meters.items()},
            per_frame={key: meter.by_frame() for key, meter in meters.items()},
        )


class RelativeJitter(Measure):
    """Every jitter by the ground truth's own."""

    keys = ("jitter_ratio",)
    needs = ("frames", "truth")
    definitions: ClassVar = {"jitter_ratio": "jitter over the ground truth's own"}

    def finish(self, found: Findings, truth: Findings) -> Findings:
        ratios = Findings()
        for key in COMPARED:
            own, there = found.metrics.get(f"jitter/{key}"), truth.metrics.get(f"jitter/{key}")
            if own is not None and there:
                ratios.metrics[f"jitter_ratio/{key}"] = own / there
                ratios.per_frame[f"jitter_ratio/{key}"] = found.per_frame[f"jitter/{key}"] / there
        return ratios
