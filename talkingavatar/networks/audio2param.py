"""Audio2Param: an encoder-decoder transformer from speech features on the video clock to parameters of each frame.

Built in the spirit of GaussianHeadTalk (arXiv 2512.10939), whose network is not public. What is foretold of a frame
depends on the feature windows of `past` frames before and `ahead` frames after it, and on the speaker's style.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from talkingavatar.networks.audio import AudioNet
from talkingavatar.networks.window_attention import DecoderLayer, EncoderLayer, Tail

FEEDBACK = ("none", "teacher", "free")
REACH = 2.5  # standard deviations of the smoothing kernel that are kept to each side


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; windows and smoothing in frames."""

    channels: int  # of the features
    outputs: int
    speakers: int = 1
    width: int = 128
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 1
    past: int = 8  # frames that a layer sees before its own
    look: int = 1  # frames that an encoder layer sees after its own
    align: int = 1  # frames of sound to each side that a decoder layer sees
    feedback: str = "none"  # what the decoder is told of its last output: none | teacher (the truth in training) | free
    smooth: float = 1.0  # standard deviation of the kernel over the outputs; 0 is none
    dropout: float = 0.0


class Audio2Param(nn.Module):
    """Standardised parameters of every frame. `feedback` tells what the decoder hears of its last output.

    "none": nothing, all frames are decoded at once. "teacher": in training the true one, else its own. "free": its own.
    It is the output before smoothing that is fed back.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, dropout = shape.width, shape.dropout
        self.frame = AudioNet(shape.channels, width)
        layers = [
            EncoderLayer(width, shape.heads, shape.past, shape.look, dropout) for _ in range(shape.encoder_layers)
        ]
        self.encoder = nn.ModuleList(layers)
        last = [DecoderLayer(width, shape.heads, shape.past, shape.align, dropout) for _ in range(shape.decoder_layers)]
        self.decoder = nn.ModuleList(last)
        self.style = nn.Embedding(shape.speakers, width)
        nn.init.normal_(self.style.weight, std=0.02)
        self.fed_back = nn.Linear(shape.outputs, width) if shape.feedback != "none" else None
        self.normal, self.out = nn.LayerNorm(width), nn.Linear(width, shape.outputs)
        nn.init.zeros_(self.out.weight)  # starts at the mean
        nn.init.zeros_(self.out.bias)
        self.register_buffer("kernel", smoothing_kernel(shape.smooth), persistent=False)

    kernel: Float[Tensor, " K"]

    @property
    def radius(self) -> int:
        """Of the smoothing, frames."""
        return len(self.kernel) // 2

    @property
    def ahead(self) -> int:
        """Frames after its own that an output depends on."""
        shape = self.shape
        return shape.encoder_layers * shape.look + shape.align + self.radius

    @property
    def past(self) -> int:
        """Frames before its own that an output depends on; with feedback older ones act through what was fed back."""
        shape = self.shape
        # Without feedback all that the first decoder layer knows of other frames is the style.
        own = shape.decoder_layers - (shape.feedback == "none")
        return (shape.encoder_layers + own) * shape.past + shape.align + self.radius

    def forward(
        self,
        features: Float[Tensor, "B T 16 C"],
        speaker: Int[Tensor, " B"] | Float[Tensor, "B D"],
        truth: Float[Tensor, "B T P"] | None = None,
    ) -> Float[Tensor, "B T P"]:
        """
        Args:
            speaker: numbers, or styles themselves.
            truth: standardised; needed by "teacher" while it is trained, else not looked at.
        """
        memory = self.codes(features)
        frames = memory.shape[1]
        for layer in self.encoder:
            memory = layer(memory, 0, frames)
        previous = None
        if self.training and self.shape.feedback == "teacher":
            assert truth is not None, "feedback=teacher is trained on the true outputs"
            previous = torch.cat([torch.zeros_like(truth[:, :1]), truth[:, :-1]], 1)
        raw = Decoding(self, self.style_of(speaker)).advance(memory, 0, frames, previous)
        return self.smoothed(raw, 0, frames)

    def codes(self, features: Float[Tensor, "B T 16 C"]) -> Float[Tensor, "B T D"]:
        """Each frame's window by itself."""
        return self.frame(features.flatten(0, 1)).unflatten(0, features.shape[:2])

    def style_of(self, speaker: Int[Tensor, " B"] | Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return speaker if speaker.is_floating_point() else self.style(speaker)

    def smoothed(self, around: Float[Tensor, "B K P"], offset: int, count: int) -> Float[Tensor, "B n P"]:
        """Weighted means round `count` frames from the place `offset` on, of those frames that are there."""
        if self.radius == 0:
            return around[:, offset : offset + count]
        distance = torch.arange(around.shape[1], device=around.device)
        distance = distance - (torch.arange(count, device=around.device) + offset)[:, None] + self.radius
        seen = (distance >= 0) & (distance < len(self.kernel))
        weights = self.kernel[distance.clamp(0, len(self.kernel) - 1)] * seen
        return (weights / weights.sum(1, keepdim=True)) @ around


class Decoding:
    """The state of a decoder on its way through a sequence."""

    def __init__(self, network: Audio2Param, style: Float[Tensor, "B D"]) -> None:
        self.network, self.style = network, style
        self.tails = [Tail(style.new_zeros(len(style), 0, style.shape[1])) for _ in network.decoder]
        self.last = style.new_zeros(len(style), 1, network.shape.outputs)

    def advance(
        self,
        memory: Float[Tensor, "B M D"],
        offset: int,
        count: int,
        previous: Float[Tensor, "B n P"] | None = None,
    ) -> Float[Tensor, "B n P"]:
        """The next `count` outputs before smoothing, whose sound lies from the place `offset` of `memory` on.

        Args:
            previous: what to feed back instead of the decoder's own outputs.
        """
        if self.network.fed_back is None or previous is not None:
            return self._decode(memory, offset, count, previous)
        outputs = []
        for place in range(offset, offset + count):
            near = max(0, place - self.network.shape.align)
            self.last = self._decode(memory[:, near : place + self.network.shape.align + 1], place - near, 1, self.last)
            outputs.append(self.last)
        return torch.cat(outputs, 1) if outputs else self.last[:, :0]

    def _decode(
        self,
        memory: Float[Tensor, "B M D"],
        offset: int,
        count: int,
        previous: Float[Tensor, "B n P"] | None,
    ) -> Float[Tensor, "B n P"]:
        network = self.network
        x = self.style[:, None].expand(-1, count, -1)
        if network.fed_back is not None and previous is not None:
            x = x + network.fed_back(previous)
        for layer, tail in zip(network.decoder, self.tails, strict=True):
            tail.append(x)
            x = layer(tail.frames, count, memory, offset)
            tail.forget(tail.stop - network.shape.past)
        return network.out(network.normal(x))


def smoothing_kernel(sigma: float) -> Float[Tensor, " K"]:
    """A Gaussian of this many frames, cut at `REACH` and normalised; one weight for sigma 0."""
    radius = math.ceil(REACH * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1.0) / max(sigma, 1e-6)).square())
    return weights / weights.sum()
