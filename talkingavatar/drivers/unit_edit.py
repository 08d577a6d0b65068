"""What is asked of a face, put into the action units that a driver is prompted with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.action_units import INTENSITY
from talkingavatar.data.prompts.ask import Asked, Track

ALPHA, BETA = 1.0, 0.3  # the published rule's; methods.md D.2: their values were not found


@dataclass(frozen=True)
class UnitEdit:
    """Curves over the frames that a driver hears, and the rule by which they count."""

    track: Track | Asked
    rule: str = "floor"  # or "published"

    def applied(self, units: Float[Tensor, "T 17"], first: int = 0) -> Float[Tensor, "T 17"]:
        """Intensities, of the frames from `first` on, with the edit in them.

        `floor`: what was there, less what is calmed, and at least what is asked. `published` (EmoDiffTalk): what is
        asked for is on or off, E (1 + alpha) or E (1 - beta). A unit is the mean of its sides, as read off a face.
        """
        track = self.track.window(first, len(units))
        raised, calmed = (torch.from_numpy(curve.mean(2)).to(units) for curve in (track.raised, track.calmed))
        if self.rule == "published":
            weight = torch.from_numpy(track.weight).to(units)[:, None]
            factor = torch.where(raised > 0, 1 + ALPHA, 1 - BETA)
            return (units * (1 + weight * (factor - 1))).clamp(0, INTENSITY)
        return torch.maximum(units * (1 - calmed), raised)
