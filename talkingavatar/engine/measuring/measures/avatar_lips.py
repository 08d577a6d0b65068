"""How far an avatar's lips open, whatever they look like."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from talkingavatar.body.lips import LipRuler
from talkingavatar.engine.measuring.measure import Findings, Measure, Picture, Setting
from talkingavatar.types import Batch, DrivingSignal

STILL = 1e-9  # metres


class AvatarLips(Measure):
    """Opening of the Gaussians on the inner lips against the true body's."""

    keys = ("lips",)
    needs = ("frames", "avatar", "motion")
    definitions: ClassVar = {
        "lips": "opening of the Gaussians on the inner lips against the true opening, over the held-out frames: its "
        "correlation (r), the ratio of both's standard deviations (extent), the mean distance in millimetres (mm)",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.openings: list[float] = []

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        avatar = self.setting.avatar
        assert avatar is not None
        ruler, parents = LipRuler(avatar.method.body), avatar.method.vertices_of()
        if ruler.known and parents is not None:
            signal = signal.to(avatar.method.device)
            self.openings.append(ruler.of_gaussians(avatar.method.drive(signal), parents, signal.pose))

    def finish(self, found: Findings, truth: Findings) -> Findings:
        if not self.openings:
            return Findings(skipped={"lips": "the body does not know its lips, or the avatar not its body"})
        assert self.held.truth is not None
        ours, true = np.array(self.openings), LipRuler(self.held.body).of_body(self.held.truth)
        return Findings(
            {
                "lips/r": float(np.corrcoef(ours, true)[0, 1]),
                "lips/extent": float(ours.std() / max(STILL, true.std())),
                "lips/mm": 1e3 * float(np.abs(ours - true).mean()),
            }
        )
