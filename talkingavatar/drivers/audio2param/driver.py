"""A trained Audio2Param at work: sound to those parts of a pose that it foretells, of a whole file or as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.audio.stream import LogMelStream
from talkingavatar.body.models import Body
from talkingavatar.config.family_options import Audio2Param as Options
from talkingavatar.config.family_options import DriverOptions
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.audio2param.training import Audio2ParamTraining
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.driver import Heard, Prompt
from talkingavatar.drivers.rig_driver import RigDriver, SoundStream, Space
from talkingavatar.drivers.rig_options import read
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.drivers.training import RenderTerm
from talkingavatar.networks.audio2param import Audio2Param, Shape
from talkingavatar.networks.audio2param_stream import FeatureStream

CHUNK = 500  # frames that are worked on at once, however long the sound


@final
class Audio2ParamDriver(RigDriver):
    """A network with what its numbers mean."""

    def __init__(self, network: Audio2Param, standard: Standardise, space: Space, card: DriverCard) -> None:
        super().__init__(network, standard, space, card)
        self.lookahead = network.ahead / card.fps + LogMelStream(card.fps).lookahead

    @classmethod
    def options(cls, config: FitConfig) -> DriverOptions:
        return read(Options(), config)

    @classmethod
    def training(
        cls, config: FitConfig, body: Body, clips: Sequence[MotionClip], render: RenderTerm | None
    ) -> Audio2ParamTraining:
        return Audio2ParamTraining(config, body, clips, render)

    @staticmethod
    def network_of(shape: dict[str, Any]) -> nn.Module:
        return Audio2Param(Shape(**shape))

    def sample(self, heard: Heard, prompt: Prompt, seed: int, count: int = 1) -> Float[Tensor, "count T P"]:
        """The one motion that it foretells, `count` times; in chunks, so that memory is bounded."""
        rows = []
        for start, stop in heard.shots or [(0, heard.frames)]:
            stream = FeatureStream(self.network, self.style_of(prompt.speaker))
            for first in range(start, stop, CHUNK):
                features = heard.features[None, first : min(stop, first + CHUNK)]
                rows.append(stream.push(features.to(self.standard.mean)))
            rows.append(stream.finish())
        return self.values(torch.cat(rows, 1)).expand(count, -1, -1)

    def stream(self, prompt: Prompt) -> SoundStream:
        """
        Raises:
            UserError: the driver's features are not made of sound as it comes, or it knows no such speaker.
        """
        self.check_live(prompt)
        return SoundStream(self, FeatureStream(self.network, self.style_of(prompt.speaker)))
