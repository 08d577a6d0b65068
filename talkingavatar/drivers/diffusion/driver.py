"""A trained denoiser at work: several motions for one sound, of a whole file or as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.audio.stream import LogMelStream
from talkingavatar.body.models import Body
from talkingavatar.config.family_options import DriverOptions
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.diffusion.sampler import MotionStream
from talkingavatar.drivers.diffusion.training import DiffusionTraining, read_options
from talkingavatar.drivers.driver import Heard, Prompt
from talkingavatar.drivers.rig_driver import RigDriver, SoundStream
from talkingavatar.drivers.space import RigParameters
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.drivers.training import RenderTerm
from talkingavatar.networks.motion_denoiser import MotionDenoiser, Shape


@final
class DiffusionDriver(RigDriver):
    """Draws motion, or of kinds that do not draw, foretells its mean."""

    takes = frozenset({"speaker", "guidance", "steps"})

    def __init__(self, network: MotionDenoiser, standard: Standardise, space: RigParameters, card: DriverCard) -> None:
        super().__init__(network, standard, space, card)
        self.draws = network.shape.kind == "ddim"
        self.lookahead = network.shape.length / card.fps + LogMelStream(card.fps).lookahead

    @classmethod
    def options(cls, config: FitConfig) -> DriverOptions:
        return read_options(config)

    @classmethod
    def training(
        cls, config: FitConfig, body: Body, clips: Sequence[MotionClip], render: RenderTerm | None
    ) -> DiffusionTraining:
        return DiffusionTraining(config, body, clips)

    @staticmethod
    def network_of(shape: dict[str, Any]) -> nn.Module:
        return MotionDenoiser(Shape(**shape))

    def sample(self, heard: Heard, prompt: Prompt, seed: int, count: int = 1) -> Float[Tensor, "count T P"]:
        rows = []
        for start, stop in heard.shots or [(0, heard.frames)]:
            stream = self._motions(prompt, [seed + k for k in range(count if self.draws else 1)])
            features = heard.features[None, start:stop].to(self.standard.mean)
            rows += [stream.push(features), stream.finish()]
        return self.standard.raised(torch.cat(rows, 1)).expand(count, -1, -1)

    def stream(self, prompt: Prompt) -> SoundStream:
        """
        Raises:
            UserError: the driver's features are not made of sound as it comes, or it knows no such speaker.
        """
        self.check_live(prompt)
        return SoundStream(self, self._motions(prompt, [0]))

    def _motions(self, prompt: Prompt, seeds: list[int]) -> MotionStream:
        shape = self.network.shape
        guidance = prompt.guidance.get("audio", shape.guidance)
        steps = shape.steps if prompt.steps is None else prompt.steps
        return MotionStream(self.network, self.style_of(prompt.speaker), seeds, steps, guidance)
