"""Driven from baked arrays: networks are asked once for many frames, and the Gaussians come in one compiled pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from talkingavatar.engine.fitted import FittedRun
from talkingavatar.errors import UserError
from talkingavatar.methods.baking import poser
from talkingavatar.metrics.image import psnr
from talkingavatar.types import Cameras, DrivingSignal, Gaussians

AT_ONCE = 64  # frames
TOGETHER = 16  # of them posed in one pass: the arrays are read once for all
LOOKED_AT = 3  # frames of a performance that are drawn in full, too
LEAST = 45.0  # decibels between both


class Fast:
    """A run's avatar, baked: `moments` of many frames, `pose` of some."""

    def __init__(self, trained: FittedRun) -> None:
        """
        Raises:
            UserError: the family has no such form.
        """
        data = trained.data
        baking = trained.method.bake(data.signal(data.capture.train_frames))
        self.trained, self.moments, self.pose = trained, baking.moments, poser(baking.avatar)

    @torch.no_grad()
    def frames(self, signal: DrivingSignal) -> Iterator[Gaussians]:
        """What `Method.drive` gives of each frame."""
        device = self.trained.method.device
        for start in range(0, len(signal), AT_ONCE):
            moments = self.moments(signal[start : start + AT_ONCE].to(device))
            for t in range(0, len(moments), TOGETHER):
                yield from self.pose(moments[t : t + TOGETHER])

    @torch.no_grad()
    def likeness(self, signal: DrivingSignal, cameras: Cameras) -> float:
        """Decibels (PSNR) between what is drawn of some frames and what the method draws, in the worst of them.

        Raises:
            UserError: they are not alike.
        """
        method = self.trained.method
        some = signal[:: max(1, len(signal) // LOOKED_AT)][:LOOKED_AT].to(method.device)
        pairs = zip(self.frames(some), (method.drive(some[t : t + 1]) for t in range(len(some))), strict=True)
        pictures = [
            [method.render(gaussians, cameras.to(method.device)).rgb[0] for gaussians in pair] for pair in pairs
        ]
        worst = min(float(psnr(one, other)) for one, other in pictures)
        if worst < LEAST:
            expected = f"{LEAST:g} dB or more from what the whole method draws"
            raise UserError("fast", f"{worst:.1f} dB", expected, "drive it without")
        return worst
