"""How sharp the pictures are by themselves, where a protocol asks for it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from talkingavatar.engine.measuring.measure import Findings, Measure, Picture, Setting
from talkingavatar.metrics.sharpness import cpbd
from talkingavatar.types import Batch, DrivingSignal


class Sharpness(Measure):
    """CPBD of the whole frame, of render and ground truth alike."""

    keys = ("full/cpbd",)
    needs = ("frames", "pictures", "cpbd")
    definitions: ClassVar = {
        "cpbd": "cumulative probability of blur detection: share of a picture's edges in which no blur is seen; whole "
        "frame, mean over frames",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.values: list[float] = []

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        assert shown is not None
        self.values.append(cpbd(shown.image))

    def finish(self, found: Findings, truth: Findings) -> Findings:
        known = [value for value in self.values if np.isfinite(value)]
        return Findings({"full/cpbd": float(np.mean(known)) if known else float("nan")})
