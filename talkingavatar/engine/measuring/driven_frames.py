"""The held-out frames of a fitted avatar as a condition shows them, beside what they are compared with."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.config.protocol import CAPTURED, Condition
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.measuring.compared_pictures import compared_pictures
from talkingavatar.engine.measuring.foretold import foretold_of_capture
from talkingavatar.engine.measuring.held_out import HeldOut
from talkingavatar.engine.measuring.pose_alignment import aligned_signal
from talkingavatar.engine.measuring.unmeasurable import Unmeasurable
from talkingavatar.types import Batch, DrivingSignal


class DrivenFrames:
    """Draws one frame after the other."""

    def __init__(self, avatar: FittedRun, held: HeldOut, condition: Condition) -> None:
        """
        Raises:
            Unmeasurable: the run or its capture does not have what the condition asks for.
        """
        layers = avatar.method.layers
        if condition.layer not in (None, CAPTURED, *layers):
            raise Unmeasurable(f"layer {condition.layer}: the method has {', '.join(layers)}")
        self.avatar, self.frames, self.condition = avatar, held.frames, condition
        self.foretold = foretold_of_capture(avatar, held.body, held.frames, condition)
        self.compared = compared_pictures(avatar.data, held.frames, condition)

    @torch.no_grad()
    def draw(self, i: int) -> tuple[Float[Tensor, "H W 3"], Batch, DrivingSignal]:
        """The i-th picture, what it is compared with, and what drove it: the pose as it was drawn, on the CPU."""
        method, data, condition = self.avatar.method, self.avatar.data, self.condition
        frame = self.frames[i]
        signal = data.signal([frame], condition.silence) if self.foretold is None else self.foretold.signal[[i]]
        batch = replace(self.compared(frame), signal=signal).to(method.device)
        signal = aligned_signal(method, batch) if condition.align else batch.signal
        if condition.layer == CAPTURED:
            image = data.batch([frame]).image[0].to(method.device)
        else:
            gaussians = method.deform(signal)[condition.layer] if condition.layer else method.drive(signal)
            image = method.render(gaussians, batch.cameras).rgb[0]
        return image, batch, replace(signal, pose=method.refined_pose(signal)).to("cpu")
