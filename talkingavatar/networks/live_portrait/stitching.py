"""LivePortrait's small networks (arXiv 2407.03168): they move driven keypoints so that a crop's border stays its own.

The two that retarget eyes and lips are read with them, as their file holds all three, and are not used: the motion of
a code is not held to a ratio of an opening.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.networks.live_portrait.widths import PUBLISHED, Widths

SHOULDERS, MOUTH, EYES = "retarget_shoulder", "retarget_mouth", "retarget_eye"


class Retargeting(nn.Module):
    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        widths, layers = (inputs, *hidden), []
        for a, b in zip(widths, hidden, strict=False):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B D"]:
        return self.mlp(x)


class Stitching(nn.Module):
    """The three of a file."""

    def __init__(self, widths: Widths = PUBLISHED) -> None:
        super().__init__()
        numbers = 3 * widths.keypoints
        self.retarget_shoulder = Retargeting(2 * numbers, (128, 128, 64), numbers + 2)
        self.retarget_mouth = Retargeting(numbers + 2, (128, 128, 64), numbers)
        self.retarget_eye = Retargeting(numbers + 3, (256, 256, 128, 128, 64), numbers)

    def forward(self, source: Float[Tensor, "B K 3"], driven: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 3"]:
        """The driven keypoints, stitched."""
        told = self.retarget_shoulder(torch.cat([source.flatten(1), driven.flatten(1)], 1))
        shift = nn.functional.pad(told[:, -2:], (0, 1))
        return driven + told[:, :-2].unflatten(1, (-1, 3)) + shift[:, None]
