"""What sound and action units do to where a Gaussian lies (TalkingGaussian, Li et al., ECCV 2024; methods A.7, G.3)."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.networks.audio import AudioAttention, AudioNet
from talkingavatar.networks.kept import Kept
from talkingavatar.networks.saam import OFFSET_SCALE, ExternalAttention
from talkingavatar.networks.triplane import TriplaneHash

WIDTH = 32  # of the encoded sound
BASE, FINEST = 16, 38  # cells of the coarsest and of the finest plane: neighbours move alike
MOVES = {"means": 3, "quats": 4, "scales": 3}
LEAK = 0.1  # slope of the rectifiers below zero: with none, all units of a layer may die at once
ACROSS = 0.2  # of what is inside a mouth moves sideways and in depth, by what it moves up and down


class MotionField(nn.Module):
    """Sound at a place; each subclass decodes what it does there.

    As published: three planes of 12 levels, coarse enough that neighbours move alike, an encoder of its own for the
    sound, and a perceptron of three layers without biases, whose last one starts at zero here: at first nothing moves.
    """

    centre: Tensor
    half_extent: Tensor

    def __init__(self, audio_channels: int, low: Float[Tensor, " 3"], high: Float[Tensor, " 3"]) -> None:
        """`low`, `high`: corners of the canonical box, in metres, that fills the planes."""
        super().__init__()
        self.register_buffer("centre", (low + high) / 2, persistent=False)
        self.register_buffer("half_extent", (high - low) / 2, persistent=False)
        self.planes = TriplaneHash(base=BASE, finest=FINEST)
        self.encoder, self.smoother = AudioNet(audio_channels, WIDTH), AudioAttention(WIDTH)

    def codes(self, means: Float[Tensor, "N 3"]) -> Float[Tensor, "N F"]:
        return self.planes((means - self.centre) / self.half_extent)

    def sound(self, windows: Float[Tensor, "8 16 C"]) -> Float[Tensor, " D"]:
        return self.smoother(self.encoder(windows))


class FaceField(MotionField):
    """Moves, turns and stretches the face by sound and upper-face units, both heeded by region.

    A place has weights for the channels of the sound, and others for those of the units: external attention over
    its code (`saam`), of which the units' is never negative.
    """

    def __init__(
        self, audio_channels: int, units: int, low: Float[Tensor, " 3"], high: Float[Tensor, " 3"], hidden: int = 64
    ) -> None:
        super().__init__(audio_channels, low, high)
        features = self.planes.features
        self.hears = ExternalAttention(features, memory=32, channels=WIDTH)
        self.sees = ExternalAttention(features, memory=16, channels=units)
        self.units = nn.Sequential(_he(units, 16), nn.LeakyReLU(LEAK), _he(16, units))
        self.decoder = _perceptron(features + WIDTH + units, hidden, sum(MOVES.values()))
        self._places = Kept[tuple[Tensor, Tensor, Tensor]]()

    def forward(
        self, means: Float[Tensor, "N 3"], windows: Float[Tensor, "8 16 C"], units: Float[Tensor, " U"]
    ) -> dict[str, Float[Tensor, "N _"]]:
        """Offsets by attribute: metres for means, raw units for quaternions and log scales.

        Args:
            units: intensities, 0 to 1.
        """
        learned = (*self.planes.parameters(), *self.hears.parameters(), *self.sees.parameters())
        codes, hears, sees = self._places.get(lambda: self._heeding(means), means, *learned)
        told = torch.cat([codes, hears * self.sound(windows), sees * self.units(units)], 1)
        moves = dict(zip(MOVES, self.decoder(told).split(list(MOVES.values()), 1), strict=True))
        return moves | {"means": OFFSET_SCALE * moves["means"]}

    def _heeding(self, means: Float[Tensor, "N 3"]) -> tuple[Tensor, Tensor, Tensor]:
        """The code of each place, and how much it heeds each channel of the sound and each of the units."""
        codes = self.codes(means)
        return codes, self.hears(codes), self.sees(codes).relu()


class MouthField(MotionField):
    """Moves what is inside the mouth by sound alone: teeth, tongue and cavity neither turn nor stretch."""

    def __init__(
        self, audio_channels: int, low: Float[Tensor, " 3"], high: Float[Tensor, " 3"], hidden: int = 32
    ) -> None:
        super().__init__(audio_channels, low, high)
        self.decoder = _perceptron(self.planes.features + WIDTH, hidden, 3)
        self.register_buffer("reach", OFFSET_SCALE * torch.tensor([ACROSS, 1.0, ACROSS]), persistent=False)
        self._places = Kept[Tensor]()

    reach: Tensor

    def forward(self, means: Float[Tensor, "N 3"], windows: Float[Tensor, "8 16 C"]) -> Float[Tensor, "N 3"]:
        """Offsets of the means, metres."""
        codes = self._places.get(lambda: self.codes(means), means, *self.planes.parameters())
        sound = self.sound(windows).expand(len(codes), -1)
        return self.reach * self.decoder(torch.cat([codes, sound], 1))


def _he(given: int, out: int) -> nn.Linear:
    layer = nn.Linear(given, out, bias=False)
    nn.init.kaiming_normal_(layer.weight, a=LEAK)
    return layer


def _perceptron(given: int, hidden: int, out: int) -> nn.Sequential:
    layers = [part for a, b in pairwise((given, hidden, hidden)) for part in (_he(a, b), nn.LeakyReLU(LEAK))]
    last = nn.Linear(hidden, out, bias=False)
    nn.init.zeros_(last.weight)
    return nn.Sequential(*layers, last)
