"""What a method starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.config.schema import FitConfig
from talkingavatar.types import Batch, BodyPose


@dataclass(frozen=True)
class MethodContext:
    """What a method may know of the run it is built for."""

    config: FitConfig
    body: Body
    pose: BodyPose  # tracked parameters of all frames of the capture
    train_frames: list[int]
    audio_channels: int
    look: Callable[[list[int]], Batch]  # training frames with their pictures, to start from
    latent: Float[Tensor, "T D"] | None = None  # the capture's own, of all frames
    actions: Float[Tensor, "T 17"] | None = None  # intensities of its action units, likewise
