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
from talkingavatar.drivers.diffusion.sampler import Guidance, MotionStream
from talkingavatar.drivers.diffusion.training import DiffusionTraining, read_options
from talkingavatar.drivers.driver import Heard, Prompt
from talkingavatar.drivers.rig_driver import RigDriver, SoundStream, Space
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.drivers.training import RenderTerm
from talkingavatar.errors import UserError
from talkingavatar.networks.motion_denoiser import MotionDenoiser, Shape


@final
class DiffusionDriver(RigDriver):
    """Draws motion, or of kinds that do not draw, foretells its mean."""

    takes = frozenset({"speaker", "guidance", "steps"})

    def __init__(self, network: MotionDenoiser, standard: Standardise, space: Space, card: DriverCard) -> None:
        super().__init__(network, standard, space, card)
        self.draws, self.prompted = network.shape.kind == "ddim", network.shape.units
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
        units = self._units(heard)
        rows = []
        for start, stop in heard.shots or [(0, heard.frames)]:
            stream = self._motions(prompt, [seed + k for k in range(count if self.draws else 1)])
            features = heard.features[None, start:stop].to(self.standard.mean)
            prompts = None if units is None else units[None, start:stop].to(self.standard.mean)
            rows += [stream.push(features, prompts), stream.finish()]
        return self.values(torch.cat(rows, 1)).expand(count, -1, -1)

    def stream(self, prompt: Prompt) -> SoundStream:
        """
        Raises:
            UserError: the driver's features are not made of sound as it comes, or it knows no such speaker.
        """
        self.check_live(prompt)
        return SoundStream(self, self._motions(prompt, [0]))

    def _units(self, heard: Heard) -> Float[Tensor, "T 17"] | None:
        """
        Raises:
            UserError: it is prompted with units, and none were foretold.
        """
        if self.prompted and heard.units is None:
            expected = f"action units, which {self.card.driver} is prompted with"
            raise UserError("driver", "nothing before it", expected, "give it a stage before it with targets=[units]")
        return heard.units if self.prompted else None

    def _motions(self, prompt: Prompt, seeds: list[int]) -> MotionStream:
        shape = self.network.shape
        given = {"audio": shape.guidance} | ({"units": shape.units_guidance} if shape.units else {})
        if unknown := sorted(prompt.guidance.keys() - given.keys()):
            raise UserError("guidance", unknown[0], f"some of {', '.join(given)}", "correct it, or use another driver")
        guidance = Guidance(**given | prompt.guidance)
        steps = shape.steps if prompt.steps is None else prompt.steps
        return MotionStream(self.network, self.style_of(prompt.speaker), seeds, steps, guidance)
