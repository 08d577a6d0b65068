"""Spatial Audio Attention Module (THGS eqs 10-15)."""

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from talkingavatar.networks.audio import AudioAttention, AudioNet
from talkingavatar.networks.baked import MOST_WIDER, Listener
from talkingavatar.networks.kept import Kept
from talkingavatar.networks.triplane import TriplaneHash

OFFSET_SCALE = 1e-2  # metres per unit of decoder output, as TalkingGaussian does


class ExternalAttention(nn.Module):
    """ReLU(f W_k) W_v (eq. 11): attention over a learned memory; nothing follows it, so weights may be negative."""

    def __init__(self, features: int, memory: int = 64, channels: int = 32) -> None:
        super().__init__()
        self.keys = nn.Linear(features, memory, bias=False)
        self.values = nn.Linear(memory, channels, bias=False)
        nn.init.kaiming_normal_(self.keys.weight)
        nn.init.kaiming_normal_(self.values.weight, nonlinearity="linear")

    def forward(self, codes: Float[Tensor, "N F"]) -> Float[Tensor, "N D"]:
        return self.values(self.keys(codes).relu())


def _he(layer: nn.Linear) -> nn.Linear:
    """Torch's own initialisation shrinks the signal threefold a layer: of three runs one never learned to hear."""
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class SpatialAudioAttention(nn.Module):
    """Where a Gaussian lies decides how it hears: offsets of mean, quaternion and log scale for mouth Gaussians.

    The decoder's last layer starts at zero, so the module starts as the identity.
    """

    centre: Tensor
    half_extent: Tensor

    def __init__(
        self,
        audio_channels: int,
        centre: Float[Tensor, " 3"],
        half_extent: Float[Tensor, " 3"],
        audio_width: int = 32,
        hidden: int = 64,
    ) -> None:
        """`centre`, `half_extent`: the canonical box, in metres, that fills the hash planes."""
        super().__init__()
        self.register_buffer("centre", centre, persistent=False)
        self.register_buffer("half_extent", half_extent, persistent=False)
        self.encoder = AudioNet(audio_channels, audio_width)
        self.smoother = AudioAttention(audio_width)
        self.planes = TriplaneHash()
        self.attention = ExternalAttention(self.planes.features, channels=audio_width)
        self._places = Kept[tuple[Tensor, Tensor]]()
        last = nn.Linear(hidden, 10)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        sizes = [self.planes.features + audio_width, hidden, hidden, hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [_he(nn.Linear(before, after)), nn.ReLU()]
        self.decoder = nn.Sequential(*layers, last)

    def forward(
        self, means: Float[Tensor, "N 3"], windows: Float[Tensor, "8 16 C"]
    ) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 4"], Float[Tensor, "N 3"]]:
        """Offsets of canonical means (metres), raw quaternions and log scales, for the 8 windows round a frame."""
        audio = self.smoother(self.encoder(windows))
        codes, weights = self._listening(means)
        offsets = self.decoder(torch.cat([codes, weights * audio], -1))
        position, rotation, scale = offsets.split([3, 4, 3], -1)
        return position * OFFSET_SCALE, rotation, scale.clamp(max=MOST_WIDER)

    def heard(self, windows: Float[Tensor, "T 8 16 C"]) -> Float[Tensor, "T D"]:
        """What the decoder has of the sound of some frames."""
        encoded = self.encoder(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])
        return self.smoother.of_each(encoded)

    def listener(self, means: Float[Tensor, "n 3"], rows: Int[Tensor, " n"]) -> Listener:
        """The decoder, with what it has of these Gaussians' places in its first layer.

        Args:
            rows: their numbers.
        """
        codes, ears = self._listening(means)
        first, second, third, last = (layer for layer in self.decoder if isinstance(layer, nn.Linear))
        of_place, of_sound = first.weight.split([codes.shape[1], ears.shape[1]], 1)
        sizes = torch.tensor([OFFSET_SCALE] * 3 + [1.0] * 7, device=codes.device)
        return Listener(
            rows.int(), codes @ of_place.mT + first.bias, ears, of_sound.contiguous(), second.weight, second.bias,
            third.weight, third.bias, sizes[:, None] * last.weight, sizes * last.bias,
        ).detach()  # fmt: skip

    def _listening(self, means: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N F"], Float[Tensor, "N D"]]:
        """Where each Gaussian lies, as a code, and how much it listens to each channel there."""

        def found() -> tuple[Tensor, Tensor]:
            codes = self.planes((means - self.centre) / self.half_extent)
            return codes, self.attention(codes)

        return self._places.get(found, means, *self.planes.parameters(), *self.attention.parameters())
