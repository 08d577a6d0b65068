"""A transformer that tells motion from noise by what is heard with it: sound, and the face's action units.

Of the kind of DiffPoseTalk (arXiv 2310.00434), JoyVASA (2411.09209) and VASA-1's motion generator (2404.10667): it
foretells the motion itself, not the noise, of a window whose first frames may be known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from talkingavatar.networks.audio import AudioNet
from talkingavatar.networks.window_attention import EncoderLayer

LEVELS = 500  # of noise, as JoyVASA trains with
UNITS = 17  # action units, 0 to 5
WAVES = 32  # frequencies that a level is told by


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; windows in frames."""

    channels: int  # of the features
    outputs: int
    speakers: int = 1
    width: int = 128
    heads: int = 4
    layers: int = 4
    length: int = 60
    overlap: int = 10
    steps: int = 10  # of sampling, where nobody asks for others
    guidance: float = 1.15  # of sound against none, likewise
    units: bool = False  # whether it is prompted with action units
    units_guidance: float = 1.0  # of them against none
    kind: str = "ddim"  # what it is trained to begin with: noise, or nothing at all; "gru": so with recurrent layers


class MotionDenoiser(nn.Module):
    """Standardised motion of N windows; at the start of training it foretells the mean."""

    waves: Float[Tensor, " w"]

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.frame = AudioNet(shape.channels, width)
        self.quiet = nn.Parameter(torch.zeros(width))  # in place of sound, where none is told of
        if shape.units:
            self.units = nn.Sequential(nn.Linear(UNITS, width), nn.SiLU(), nn.Linear(width, width))
            self.unprompted = nn.Parameter(torch.zeros(width))  # in place of units, likewise
        self.style = nn.Embedding(shape.speakers, width)
        nn.init.zeros_(self.style.weight)
        self.motion = nn.Linear(shape.outputs + 1, width)
        self.level = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.trunk = _Recurrent(width, shape.layers) if shape.kind == "gru" else _Attentive(shape)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, shape.outputs))
        last = self.out[1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.register_buffer("waves", torch.exp(torch.linspace(0, math.log(LEVELS), WAVES)), persistent=False)

    def hear(self, features: Float[Tensor, "N L 16 C"]) -> Float[Tensor, "N L D"]:
        """What the sound of each frame tells; made once for all levels."""
        return self.frame(features.flatten(0, 1)).unflatten(0, features.shape[:2])

    def forward(
        self,
        noisy: Float[Tensor, "N L P"],
        known: Bool[Tensor, "N L"],
        level: Int[Tensor, " N"],
        heard: Float[Tensor, "N L D"],
        style: Float[Tensor, "N D"],
    ) -> Float[Tensor, "N L P"]:
        """The motion without noise.

        Args:
            noisy: known frames without noise, the others at their level.
            level: of the noise, from 0 to `LEVELS` - 1.
            heard: of `hear`, or `quiet`; with units, of `units` or `unprompted` on top.
        """
        moved = self.motion(torch.cat([noisy, known[:, :, None].to(noisy)], -1))
        of_all = self.level(self._waves(level)) + style
        return self.out(self.trunk(moved + heard + of_all[:, None]))

    def _waves(self, level: Int[Tensor, " N"]) -> Float[Tensor, "N W"]:
        angles = level[:, None] / LEVELS * self.waves
        return torch.cat([angles.sin(), angles.cos()], -1)


class _Attentive(nn.Module):
    """Every frame sees all of its window."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        reach = shape.length - 1
        layers = [EncoderLayer(shape.width, shape.heads, reach, reach, 0.0) for _ in range(shape.layers)]
        self.layers = nn.ModuleList(layers)

    def forward(self, frames: Float[Tensor, "N L D"]) -> Float[Tensor, "N L D"]:
        for layer in self.layers:
            frames = layer(frames, 0, frames.shape[1])
        return frames


class _Recurrent(nn.Module):
    """As many layers that read the window from both ends, of about as many weights."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.GRU(width, width // 2, layers, batch_first=True, bidirectional=True)

    def forward(self, frames: Float[Tensor, "N L D"]) -> Float[Tensor, "N L D"]:
        return frames + self.layers(frames)[0]
