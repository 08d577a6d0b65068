"""What a motion latent comes from and what it does to a portrait: the interface of all sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.data.portrait.portrait import Portrait
from talkingavatar.networks.mesh_code import MotionLatent


class Animated(NamedTuple):
    """One frame of a portrait that moves."""

    frame: UInt8[ndarray, "H W 3"]  # composited on white
    matte: UInt8[ndarray, "H W"]
    confidence: Float[ndarray, "H W"]  # [0, 1]: how much of the portrait's own truth a pixel shows
    valid: bool  # false: turned too far, or its mesh folded; not to be learned from
    why: str  # it is not, in words


class MotionSource(ABC):
    """Reads motion off pictures of a person, and makes pictures of a motion.

    Sources differ in what their numbers mean: a latent is of use with the source (name and version) that made it alone.
    """

    name: str
    version: str
    licence: str
    dyn_dim: int
    pose_dim: int
    mean: Float[Tensor, " D"]  # of `dyn` over its bank
    std: Float[Tensor, " D"]

    @abstractmethod
    def read(self, portraits: list[Portrait]) -> MotionLatent:
        """The motion of a person's pictures in order; where the head is, is told from where it was in the first."""

    @abstractmethod
    def animate(self, portrait: Portrait, latents: MotionLatent) -> Iterator[Animated]:
        """The portrait in these motions, a picture each."""

    @abstractmethod
    def bank(self, name: str) -> MotionLatent:
        """Motions that come with the source.

        Raises:
            UserError: it has no bank of this name.
        """

    @abstractmethod
    def from_audio(self, samples: Float[ndarray, " n"], fps: float, seed: int) -> MotionLatent:
        """Motion that goes with 16 kHz mono speech.

        Raises:
            UserError: the source has no driver.
        """
