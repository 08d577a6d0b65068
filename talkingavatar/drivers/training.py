"""What the stage of a driver asks of its training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightning as L
from torch import Tensor

from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.card import DriverCard
from talkingavatar.training.terms import Scalars
from talkingavatar.types import BodyPose


@dataclass(frozen=True)
class RenderTerm:
    """What an avatar draws of a foretold pose, against its picture.

    `loss(pose, frame)` is given one frame's pose with the foretold parts in it and that frame's number in the run's own
    capture, and returns unreduced losses; `frames` are those that have pictures to train on.
    """

    loss: Callable[[BodyPose, int], Tensor]
    frames: list[int]


class DriverTraining(L.LightningModule, ABC):
    """A module that trains a driver. Its checkpoints hold the driver's card."""

    data: L.LightningDataModule  # its training loader is keyed by seed and step
    scalars: Scalars  # of the last step, for whoever logs
    skipped: dict[str, str]  # terms that cannot be there, and why

    @property
    @abstractmethod
    def card(self) -> DriverCard:
        """What the weights are for."""

    @abstractmethod
    def rates(self, step: int) -> dict[str, float]:
        """Learning rate of each parameter group at a step."""

    @abstractmethod
    def adopt(self, checkpoint: dict[str, Any]) -> None:
        """Start from another run's driver.

        Raises:
            UserError: it is no driver's, or one of another shape, for other parts, features or body.
        """

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """
        Raises:
            RuntimeError: the loss is not finite: that is not to be continued.
        """
        self.scalars.read()
        checkpoint["driver"] = asdict(self.card)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """
        Raises:
            UserError: the checkpoint is no driver's, or one for other speakers, parts, features or body.
        """
        self.card.check(DriverCard.of(checkpoint))


def shares_of(clips: Sequence[MotionClip], own_share: float) -> list[float]:
    """Of each clip in what is trained on: the first, the run's own, its share, the others the rest by their length."""
    frames = [sum(stop - start for start, stop in clip.train) for clip in clips]
    others = sum(frames[1:])
    own = own_share if others else 1.0
    return [own, *((1 - own) * count / others for count in frames[1:])]
