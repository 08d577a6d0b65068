"""Training of Audio2Param: from speech features to those parts of a pose that sound tells of, or to action units.

Once an avatar is there, a term on what it draws (`RenderTerm`) can join.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.config.family_options import Audio2Param as Options
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.motion_batches import MotionBatch
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.data.sampler import frames_of_step
from talkingavatar.drivers.rig_options import read, shape_of
from talkingavatar.drivers.rig_training import RigTraining
from talkingavatar.drivers.training import RenderTerm
from talkingavatar.networks.audio2param import Audio2Param, Shape
from talkingavatar.training.precision import reduced
from talkingavatar.types import BodyPose


@final
class Audio2ParamTraining(RigTraining):
    """One step trains the sequences of one batch and, where it has begun, a drawn frame of the run's own clip."""

    name = "audio2param"

    def __init__(
        self, config: FitConfig, body: Body, clips: Sequence[MotionClip], render: RenderTerm | None = None
    ) -> None:
        """
        Raises:
            UserError: a mistake in the options, the terms or the schedule, or clips that are too short.
        """
        options = read(Options(), config)
        super().__init__(config, body, clips, options)
        self.render = None if self.space.rig is None else render
        if self.render is None and (row := config.driver.terms.get("render")) is not None and row.weight > 0:
            why = "there is no avatar to draw" if render is None else "action units are not drawn"
            self.skipped["driver/loss/render"] = why
        self._own: tuple[Tensor, BodyPose] | None = None
        channels = self.clips[0].features.shape[-1]
        self.network = Audio2Param(shape_of(Shape, options, channels, len(self.space.names), len(self.clips)))

    def terms(self, batch: MotionBatch) -> dict[str, Float[Tensor, "..."]]:
        losses = super().terms(batch)
        if self.counts("render") and self.render is not None:
            losses["render"] = self._drawn(self.render)
        return losses

    def foretold(
        self,
        features: Float[Tensor, "N L 16 C"],
        speaker: Int[Tensor, " N"],
        truth: Float[Tensor, "N L P"],
        units: Float[Tensor, "N L 17"] | None = None,
    ) -> Float[Tensor, "N L P"]:
        """It may be fed back the truth, but of what sound tells only."""
        with reduced(self.config.trainer, self.device):
            return self.network(features, speaker, truth * (self.standard.audible > 0)).float()

    def _drawn(self, render: RenderTerm) -> Float[Tensor, "..."]:
        """What the avatar draws of one training frame, foretold from the sound round it."""
        (frame,) = frames_of_step(render.frames, self.config.seed, self.step)
        own, rig = self.clips[0], self.space.rig
        assert rig is not None
        heard, pose = self._own_clip()
        first, last = next(shot for shot in own.shots if shot[0] <= frame < shot[1])
        first, last = max(first, frame - self.network.past), min(last, frame + self.network.ahead + 1)
        features = heard[None, first:last]
        truth = self.standard(rig.parts.read(pose[first:last]))[None]
        foretold = self.foretold(features, torch.zeros(1, dtype=torch.long, device=self.device), truth)
        values = self.standard.back(self._completed(foretold, truth)[0, frame - first : frame - first + 1])
        return render.loss(rig.parts.write(pose[frame : frame + 1], values), frame)

    def _own_clip(self) -> tuple[Float[Tensor, "T 16 C"], BodyPose]:
        """Features and poses of the run's own clip, sent to the device once."""
        if self._own is None or self._own[0].device != self.device:
            own = self.clips[0]
            self._own = own.features.to(self.device), own.pose.to(self.device)
        return self._own
