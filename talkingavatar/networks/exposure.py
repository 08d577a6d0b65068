"""Brightness and white balance of each training frame: a camera on automatic drifts, the person does not."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.geometry.spherical_harmonics import SH_C0
from talkingavatar.types import Gaussians


class Exposure(nn.Module):
    """A gain per colour channel for each of T training frames; their mean is kept at 1, so other frames need none."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(frames, 3))

    def gain(self, row: int) -> Float[Tensor, " 3"]:
        return (self.log_gain[row] - self.log_gain.mean(0)).exp()

    def forward(self, gaussians: Gaussians, row: int) -> Gaussians:
        """The Gaussians as frame `row` saw them; the background is not theirs and stays."""
        gain = self.gain(row)
        sh = gaussians.sh * gain
        # Colour is SH + 0.5 (the 3DGS convention), so the constant is scaled as well.
        shifted = sh[:, :1] + 0.5 * (gain - 1) / SH_C0
        return replace(gaussians, sh=torch.cat([shifted, sh[:, 1:]], 1))
