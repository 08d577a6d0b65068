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
    """Of P parameters: the same numbers in training and at work. Starts as the identity.

    Standardised are the parameters, or as many components of them, where a matrix turns them into such.
    """

    mean: Float[Tensor, " P"]
    std: Float[Tensor, " P"]
    audible: Float[Tensor, " P"]  # weight of each parameter; 0 for those that sound says nothing about
    gain: Float[Tensor, " P"]  # what a trained driver's motion is raised by
    turn: Float[Tensor, "P P"] | None  # from parameters to components
    turned_back: Float[Tensor, "P P"] | None

    def __init__(self, parameters: int, turn: Float[Tensor, "P P"] | None = None) -> None:
        super().__init__()
        self.register_buffer("turn", turn)
        self.register_buffer("turned_back", None if turn is None else torch.linalg.pinv(turn))
        self.register_buffer("mean", torch.zeros(parameters))
        for name in ("std", "audible", "gain"):
            self.register_buffer(name, torch.ones(parameters))

    def forward(self, values: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        """Radians, coefficients or intensities, in standard deviations."""
        return (self.components(values) - self.mean) / self.std

    def back(self, standard: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        """The way back."""
        return self.restored(self.mean + self.std * standard)

    def raised(self, output: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        """The same of what a trained network foretells, its motion brought to its extent."""
        return self.restored(self.mean + self.std * self.gain * output)

    def components(self, values: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        """What is standardised of parameters."""
        return values if self.turn is None else values @ self.turn

    def restored(self, components: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        return components if self.turned_back is None else components @ self.turned_back

    @property
    def scale(self) -> Float[Tensor, " P"]:
        """Standard deviations of the parameters themselves."""
        return self.std if self.turned_back is None else (self.std[:, None] * self.turned_back).norm(dim=0)

    @torch.no_grad()
    def fit(
        self,
        space: MotionSpace,
        clips: Sequence[MotionClip],
        shares: Sequence[float],
        least_std: float,
        least_r: float,
        most_gain: float,
        kinds: Sequence[int] | None = None,
    ) -> Standardise:
        """Take the statistics of what is trained on.

        Args:
            shares: of each clip in it.
            least_std: share of the largest deviation of its kind that each parameter is taken to have at least.
            least_r: correlation with sound below which a parameter stays at its mean; 0 trains all.
            most_gain: the limit of the gain.
            kinds: of the components, where there are any, as the space's are of its parameters.
        """
        stretches = [
            [(clip.features[a:b], self.components(space.read(clip.signal[a:b]))) for a, b in clip.train]
            for clip in clips
        ]
        rows = [torch.cat([values for _, values in each]) for each in stretches]
        self.mean, self.std = _statistics(rows, shares, space.kinds if kinds is None else kinds, least_std)
        heard = [stretch for each in stretches for stretch in each]
        self.audible, self.gain = _audible(audible_correlation(heard), least_r, most_gain)
        return self


def _audible(
    r: Float[Tensor, " P"], least_r: float, most_gain: float
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Weights of mean 1, in proportion to how well a linear guess follows each parameter, and gains.

    A parameter that sound says nothing about can only be learned by heart. It stays at its mean. Of one that sound
    tells with correlation r, the best guess moves r times as far: all of speech would look mumbled. The gain gives
    the motion its extent back, where that does not raise the errors beyond `most_gain`.
    """
    gain = (1 / r.clamp_min(1e-3)).clamp(1.0, most_gain)
    audible = torch.where(r >= least_r, r, 0.0)
    if least_r == 0 or not audible.any():
        return torch.ones_like(r), gain
    # Fed back to itself, the network may keep what it likes in the outputs that count for nothing.
    return audible / audible.mean(), torch.where(audible > 0, gain, 0.0)


def _statistics(
    frames: Sequence[Float[Tensor, "_ P"]], shares: Sequence[float], kinds: Sequence[int], least: float
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Mean and standard deviation of the clips' rows.

    Parameters that hardly move hold a tracker's noise; in standard deviations they would weigh as much as the jaw. No
    deviation is taken as smaller than the share `least` of the largest of its kind (angles, coefficients, intensities).
    """
    weights = torch.tensor(shares, dtype=torch.float32) / sum(shares)
    mean = weights @ torch.stack([rows.mean(0) for rows in frames])
    std = (weights @ torch.stack([(rows - mean).square().mean(0) for rows in frames])).sqrt()
    floor = torch.cat([(part.max() * least).expand(len(part)) for part in std.split(list(kinds))])
    return mean, cast(Tensor, torch.maximum(std, floor).clamp_min(1e-6))
