"""A trained Audio2Param at work: sound to those parts of a pose that it foretells, of a whole file or as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.stream import LogMelStream
from talkingavatar.body.models import Body
from talkingavatar.config.family_options import DriverOptions
from talkingavatar.config.names import suggestion
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.audio2param.options import read
from talkingavatar.drivers.audio2param.training import Audio2ParamTraining
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.driver import Driver, Heard, Prompt
from talkingavatar.drivers.space import RigParameters
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.drivers.training import RenderTerm
from talkingavatar.errors import UserError
from talkingavatar.networks.audio2param import Audio2Param, Shape
from talkingavatar.networks.audio2param_stream import FeatureStream

CHUNK = 500  # frames that are worked on at once, however long the sound


@final
class Audio2ParamDriver(Driver):
    """A network with what its numbers mean."""

    takes = frozenset({"speaker"})

    def __init__(self, network: Audio2Param, standard: Standardise, space: RigParameters, card: DriverCard) -> None:
        self.network, self.standard, self.space, self.card = network.eval(), standard, space, card
        self.lookahead = network.ahead / card.fps + LogMelStream(card.fps).lookahead

    @classmethod
    def options(cls, config: FitConfig) -> DriverOptions:
        return read(config)

    @classmethod
    def training(
        cls, config: FitConfig, body: Body, clips: Sequence[MotionClip], render: RenderTerm | None
    ) -> Audio2ParamTraining:
        return Audio2ParamTraining(config, body, clips, render)

    @classmethod
    def load(cls, checkpoint: dict[str, Any], body: Body) -> Audio2ParamDriver:
        card = DriverCard.of(checkpoint)
        network, standard = Audio2Param(Shape(**card.shape)), Standardise(len(card.names))
        for module, prefix in ((network, "network."), (standard, "standard.")):
            state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
            module.load_state_dict(state)
        return cls(network.requires_grad_(False), standard, RigParameters(body, card.targets), card)

    @property
    def scale(self) -> Float[Tensor, " P"]:
        return self.standard.std

    def sample(self, heard: Heard, prompt: Prompt, seed: int, count: int = 1) -> Float[Tensor, "count T P"]:
        """The one motion that it foretells, `count` times; in chunks, so that memory is bounded."""
        rows = []
        for start, stop in heard.shots or [(0, heard.frames)]:
            stream = FeatureStream(self.network, self._style(prompt.speaker))
            for first in range(start, stop, CHUNK):
                features = heard.features[None, first : min(stop, first + CHUNK)]
                rows.append(stream.push(features.to(self.standard.mean)))
            rows.append(stream.finish())
        return self.standard.raised(torch.cat(rows, 1)).expand(count, -1, -1)

    def stream(self, prompt: Prompt) -> Audio2ParamStream:
        """
        Raises:
            UserError: the driver's features are not made of sound as it comes, or it knows no such speaker.
        """
        if self.card.features != "logmel":
            expected = "logmel, which can be made as sound comes"
            raise UserError("audio.name", self.card.features, expected, "train with audio=logmel")
        self.refuse(prompt)
        return Audio2ParamStream(self, self._style(prompt.speaker))

    def _style(self, speaker: str | None) -> Float[Tensor, "1 D"]:
        known = self.card.speakers
        name = known[0] if speaker is None else speaker
        if name not in known:
            raise UserError("speaker", repr(name), f"one of {', '.join(known)}", suggestion(name, known))
        return self.network.style.weight[None, known.index(name)].detach()


class Audio2ParamStream:
    """Parameters as soon as they are certain (`Driver.lookahead`); the same as for the whole file."""

    def __init__(self, driver: Audio2ParamDriver, style: Float[Tensor, "1 D"]) -> None:
        self.standard = driver.standard
        self.sound, self.frames = LogMelStream(driver.card.fps), FeatureStream(driver.network, style)

    def push(self, samples: Float[ndarray, " N"]) -> Float[Tensor, "n P"]:
        return self.standard.raised(self.frames.push(self._features(self.sound.push(samples)))[0])

    def finish(self, frames: int | None = None) -> Float[Tensor, "n P"]:
        rest = [self.frames.push(self._features(self.sound.finish(frames))), self.frames.finish()]
        return self.standard.raised(torch.cat(rest, 1)[0])

    def _features(self, windows: Float[ndarray, "n 16 C"]) -> Float[Tensor, "1 n 16 C"]:
        return torch.from_numpy(windows)[None].to(self.standard.mean)
