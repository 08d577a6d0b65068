"""Trained networks at work that foretell parts of a pose, or action units: what is common to them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from talkingavatar.audio.stream import LogMelStream
from talkingavatar.body.models import Body
from talkingavatar.config.names import suggestion
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.driver import Driver, Prompt
from talkingavatar.drivers.space import RigParameters, SignalField, space_of
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.errors import UserError

Space = RigParameters | SignalField


@runtime_checkable  # while tests run, annotations are checked
class FeatureStream(Protocol):
    """Feature windows in, standardised parameters out as soon as they are certain."""

    @property
    def push(self) -> Callable[..., Tensor]:
        """Of the next frames (1,n,16,C), of one that is prompted their units (1,u,17) too, outputs that are certain now
        (B,m,P), possibly none."""

    def finish(self) -> Float[Tensor, "B m P"]:
        """What is left at the sequence's end."""


class RigDriver(Driver):
    """A network with what its numbers mean."""

    takes = frozenset({"speaker"})

    def __init__(self, network: nn.Module, standard: Standardise, space: Space, card: DriverCard) -> None:
        self.network: Any = network.eval()
        self.standard, self.space, self.card = standard, space, card

    @staticmethod
    @abstractmethod
    def network_of(shape: dict[str, Any]) -> nn.Module:
        """A network of these sizes, those of its card."""

    @classmethod
    def load(cls, checkpoint: dict[str, Any], body: Body) -> RigDriver:
        card = DriverCard.of(checkpoint)
        network = cls.network_of(card.shape)
        standard = Standardise(len(card.names), checkpoint["state_dict"].get("standard.turn"))
        for module, prefix in ((network, "network."), (standard, "standard.")):
            state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
            module.load_state_dict(state)
        return cls(network.requires_grad_(False), standard, space_of(body, card.targets), card)

    def values(self, output: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        """What the network's output means, motion at its extent."""
        return self.standard.raised(output).clamp(*self.space.limits)

    @property
    def scale(self) -> Float[Tensor, " P"]:
        return self.standard.scale

    def style_of(self, speaker: str | None) -> Float[Tensor, "1 D"]:
        """
        Raises:
            UserError: the driver knows no such speaker.
        """
        known = self.card.speakers
        name = known[0] if speaker is None else speaker
        if name not in known:
            raise UserError("speaker", repr(name), f"one of {', '.join(known)}", suggestion(name, known))
        return self.network.style.weight[None, known.index(name)].detach()

    def check_live(self, prompt: Prompt) -> None:
        """
        Raises:
            UserError: the driver's features are not made of sound as it comes, or it lacks what is asked for.
        """
        if self.card.features != "logmel":
            expected = "logmel, which can be made as sound comes"
            raise UserError("audio.name", self.card.features, expected, "train with audio=logmel")
        self.refuse(prompt)


class SoundStream:
    """Parameters as soon as they are certain (`Driver.lookahead`); the same as for the whole file."""

    def __init__(self, driver: RigDriver, frames: FeatureStream) -> None:
        self.driver, self.sound, self.frames = driver, LogMelStream(driver.card.fps), frames

    def push(self, samples: Float[ndarray, " N"], *prompts: Float[Tensor, "u 17"]) -> Float[Tensor, "n P"]:
        units = [prompt[None] for prompt in prompts]
        return self.driver.values(self.frames.push(self._features(self.sound.push(samples)), *units)[0])

    def finish(self, frames: int | None = None, *prompts: Float[Tensor, "u 17"]) -> Float[Tensor, "n P"]:
        units = [prompt[None] for prompt in prompts]
        rest = [self.frames.push(self._features(self.sound.finish(frames)), *units), self.frames.finish()]
        return self.driver.values(torch.cat(rest, 1)[0])

    def _features(self, windows: Float[ndarray, "n 16 C"]) -> Float[Tensor, "1 n 16 C"]:
        return torch.from_numpy(windows)[None].to(self.driver.standard.mean)
