"""What the weights of a driver are for, beside them in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from talkingavatar.errors import UserError
from talkingavatar.runtime.readers import is_number

ALIKE = ("targets", "names", "variable", "speakers", "features", "output", "fps")  # of training and use
# Sizes that the speakers tell, or that do not matter at work.
FREE = ("speakers", "dropout", "steps", "guidance", "units_guidance")


@dataclass(frozen=True)
class DriverCard:
    """Enough to use a driver without its training."""

    driver: str  # its name in the registry
    shape: dict[str, Any]  # sizes of its network
    targets: list[str]  # what it foretells: parts of a pose
    names: list[str]  # of its parameters
    speakers: list[str]  # whose styles it knows, the run's own first
    features: str  # kind of what it hears, `audio.name`
    output: str  # `audio.output`
    fps: float  # of its clock
    body: str
    checksum: str  # of the body
    variable: str = "expression"  # what of them its network gives: themselves, or components of "vertices"

    @classmethod
    def of(cls, checkpoint: dict[str, Any]) -> DriverCard:
        """
        Raises:
            UserError: the checkpoint is no driver's.
            TypeError, ValueError: what it says of itself is damaged.
        """
        if "driver" not in checkpoint:
            raise UserError(
                "driver", "a checkpoint of something else", "a driver's", "give driver.ckpt of a run of a driver"
            )
        card = cls(**checkpoint["driver"])
        lists = (card.targets, card.names, card.speakers)
        texts = [
            card.driver,
            card.features,
            card.output,
            card.body,
            card.checksum,
            card.variable,
            *(t for each in lists for t in each),
        ]
        whole = isinstance(card.shape, dict) and all(isinstance(each, list) for each in lists)
        if not whole or not all(isinstance(t, str) for t in texts) or not is_number(card.fps) or card.fps <= 0:
            raise ValueError("a driver's card that is none")
        return card

    def check(self, made_with: DriverCard, without: tuple[str, ...] = ()) -> None:
        """Whether weights that were made with another card can be used here.

        Args:
            without: what need not be alike.

        Raises:
            UserError: they were made for something else.
        """
        if made_with.driver != self.driver:
            expected = f"{made_with.driver}, which the checkpoint is of"
            raise UserError("driver.name", repr(self.driver), expected, "give the same, or train the driver anew")
        if (made_with.body, made_with.checksum) != (self.body, self.checksum):
            raise UserError(
                "body",
                f"{self.body} ({self.checksum:.12})",
                f"{made_with.body} ({made_with.checksum:.12}), which the driver's checkpoint was made with",
                "give that model by body=... body.path=..., or train the driver anew",
            )
        for key in ALIKE:
            here, there = getattr(self, key), getattr(made_with, key)
            if key not in without and here != there:
                expected = f"{there}, which the driver's checkpoint was made with"
                raise UserError(f"driver: {key}", str(here), expected, "give the same, or train the driver anew")
        for name, size in made_with.shape.items():
            if name not in FREE and size != self.shape[name]:
                expected = f"{size}, which the driver's checkpoint was made with"
                found = str(self.shape[name])
                raise UserError(f"driver.options.{name}", found, expected, "give the same, or train it anew")
