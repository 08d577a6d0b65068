"""What tells LivePortrait's motion from sound."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.networks.mesh_code import MotionLatent


class Person(NamedTuple):
    """What of a portrait a driver may go by."""

    told: dict[str, Float[Tensor, "1 _"]]  # what the motion extractor's heads say: kp, exp, scale, t, bins of angles
    marks: Float[Tensor, "68 2"]  # pixels


@runtime_checkable
class SpeechDriver(Protocol):
    """Foretells motion at 25 frames a second; the same seed, the same motion."""

    name: str
    personal: bool  # its motion is the person's own already, and goes on from the portrait

    def __call__(self, samples: Float[ndarray, " n"], seed: int, person: Person) -> MotionLatent:
        """
        Args:
            samples: 16 kHz mono speech.
        """
        ...
