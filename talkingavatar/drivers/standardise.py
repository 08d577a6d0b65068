"""Parameters in standard deviations from their mean, as a driver's network gives them, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.audio.audible import audible_correlation
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.space import MotionSpace


class Standardise(nn.Module):
    """Of P parameters: the same numbers in training and at work. Starts as the identity."""

    mean: Float[Tensor, " P"]
    std: Float[Tensor, " P"]
    audible: Float[Tensor, " P"]  # weight of each parameter; 0 for those that sound says nothing about
    gain: Float[Tensor, " P"]  # what a trained driver's motion is raised by

    def __init__(self, parameters: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(parameters))
        for name in ("std", "audible", "gain"):
            self.register_buffer(name, torch.ones(parameters))

    def forward(self, values: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        """Radians, coefficients or intensities, in standard deviations."""
        return (values - self.mean) / self.std

    def back(self, standard: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        """The way back."""
        return self.mean + self.std * standard

    def raised(self, output: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        """The same of what a trained network foretells, its motion brought to its extent."""
        return self.mean + self.std * self.gain * output

    @torch.no_grad()
    def fit(
        self,
        space: MotionSpace,
        clips: Sequence[MotionClip],
        shares: Sequence[float],
        least_std: float,
        least_r: float,
        most_gain: float,
    ) -> Standardise:
        """Take the statistics of what is trained on.

        Args:
            shares: of each clip in it.
            least_std: share of the largest deviation of its kind that each parameter is taken to have at least.
            least_r: correlation with sound below which a parameter stays at its mean; 0 trains all.
            most_gain: the limit of the gain.
        """
        self.mean, self.std = _statistics(space, clips, shares, least_std)
        self.audible, self.gain = _audible(space, clips, least_r, most_gain)
        return self


def _audible(
    space: MotionSpace, clips: Sequence[MotionClip], least_r: float, most_gain: float
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Weights of mean 1, in proportion to how well a linear guess follows each parameter, and gains.

    A parameter that sound says nothing about can only be learned by heart. It stays at its mean. Of one that sound
    tells with correlation r, the best guess moves r times as far: all of speech would look mumbled. The gain gives
    the motion its extent back, where that does not raise the errors beyond `most_gain`.
    """
    r = audible_correlation(
        [(clip.features[a:b], space.read(clip.signal[a:b])) for clip in clips for a, b in clip.train]
    )
    gain = (1 / r.clamp_min(1e-3)).clamp(1.0, most_gain)
    audible = torch.where(r >= least_r, r, 0.0)
    if least_r == 0 or not audible.any():
        return torch.ones_like(r), gain
    # Fed back to itself, the network may keep what it likes in the outputs that count for nothing.
    return audible / audible.mean(), torch.where(audible > 0, gain, 0.0)


def _statistics(
    space: MotionSpace, clips: Sequence[MotionClip], shares: Sequence[float], least: float
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Mean and standard deviation.

    Parameters that hardly move hold a tracker's noise; in standard deviations they would weigh as much as the jaw. No
    deviation is taken as smaller than the share `least` of the largest of its kind (angles, coefficients, intensities).
    """
    weights = torch.tensor(shares, dtype=torch.float32) / sum(shares)
    frames = [torch.cat([space.read(clip.signal[start:stop]) for start, stop in clip.train]) for clip in clips]
    means = torch.stack([rows.mean(0) for rows in frames])
    mean = weights @ means
    squares = torch.stack([(rows - mean).square().mean(0) for rows in frames])
    std = (weights @ squares).sqrt()
    floor = torch.cat([(part.max() * least).expand(len(part)) for part in std.split(space.kinds)])
    return mean, cast(Tensor, torch.maximum(std, floor).clamp_min(1e-6))
