"""Audio2Param on features that come in chunks: bounded look-ahead and memory, the same outputs as for the whole."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.networks.audio2param import Audio2Param, Decoding
from talkingavatar.networks.window_attention import Tail


class FeatureStream:
    """Gives each output as soon as the `network.ahead` frames after it have come.

    Every layer keeps the frames that coming ones will look at. The network is used as it is: call `eval()` before.
    """

    def __init__(self, network: Audio2Param, style: Float[Tensor, "B D"]) -> None:
        self.network = network
        nothing, shape = style[:, None][:, :0], network.shape
        # What comes in, what each encoder layer gives (the last is the memory), and the outputs before smoothing.
        self.tails = [Tail(nothing) for _ in range(shape.encoder_layers + 1)]
        self.raw = Tail(style.new_zeros(len(style), 0, shape.outputs))
        self.decoding = Decoding(network, style)
        self.frames = 0  # given out so far

    def push(self, features: Float[Tensor, "B n 16 C"]) -> Float[Tensor, "B m P"]:
        """The next frames; outputs that are certain now, possibly none."""
        return self._advance(self.network.codes(features), last=False)

    def finish(self) -> Float[Tensor, "B m P"]:
        """What is left at the sequence's end."""
        return self._advance(self.tails[0].frames[:, :0], last=True)

    @torch.no_grad()
    def _advance(self, codes: Float[Tensor, "B n D"], last: bool) -> Float[Tensor, "B m P"]:
        network, shape = self.network, self.network.shape
        self.tails[0].append(codes)
        for layer, (before, after) in zip(network.encoder, pairwise(self.tails), strict=True):
            count = max(0, before.stop - (0 if last else shape.look) - after.stop)
            after.append(layer(before.frames, after.stop - before.start, count))
            before.forget(after.stop - shape.past)
        memory = self.tails[-1]
        count = max(0, memory.stop - (0 if last else shape.align) - self.raw.stop)
        self.raw.append(self.decoding.advance(memory.frames, self.raw.stop - memory.start, count))
        memory.forget(self.raw.stop - shape.align)
        count = max(0, self.raw.stop - (0 if last else network.radius) - self.frames)
        outputs = network.smoothed(self.raw.frames, self.frames - self.raw.start, count)
        self.frames += count
        self.raw.forget(self.frames - network.radius)
        return outputs
