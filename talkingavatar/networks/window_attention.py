"""Transformer layers that see a window of frames: the same answer wherever in a sequence, and in pieces of it.

A layer is given the frames round those it is to answer for. What is not there (before the start, after the end) is not
attended to, so that a sequence's ends need no mask and a piece needs only its surroundings.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Tail:
    """The latest frames of a sequence that is being made; `start` is the place of the first one kept."""

    def __init__(self, empty: Float[Tensor, "B 0 D"]) -> None:
        self.frames, self.start = empty, 0

    @property
    def stop(self) -> int:
        """Frames made so far."""
        return self.start + self.frames.shape[1]

    def append(self, frames: Float[Tensor, "B n D"]) -> None:
        self.frames = torch.cat([self.frames, frames], 1)

    def forget(self, before: int) -> None:
        """Drop what lies before a place."""
        count = max(0, before - self.start)
        self.frames, self.start = self.frames[:, count:], self.start + count


class WindowAttention(nn.Module):
    """Attention of each frame to those from `past` before it to `look` after it.

    A learned bias per head and distance takes the place of positions, so that only distances matter.
    """

    def __init__(self, width: int, heads: int, past: int, look: int) -> None:
        super().__init__()
        self.heads, self.past, self.look = heads, past, look
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.bias = nn.Parameter(torch.zeros(heads, past + look + 1))
        with torch.no_grad():  # each head starts by looking at another part of the window, softly
            distance = torch.arange(-past, look + 1.0)
            for head, centre in enumerate(torch.linspace(-min(past, 4), min(look, 4), heads)):
                self.bias[head] = -0.5 * ((distance - centre) / 2).square().clamp(max=8)

    def forward(
        self, frames: Float[Tensor, "B Q D"], around: Float[Tensor, "B K D"], offset: int
    ) -> Float[Tensor, "B Q D"]:
        """Frame i of `frames` is at the place offset + i of `around`."""
        queries, keys = frames.shape[1], around.shape[1]
        distance = (
            torch.arange(keys, device=frames.device) - (torch.arange(queries, device=frames.device) + offset)[:, None]
        )
        seen = (distance >= -self.past) & (distance <= self.look)
        bias = self.bias[:, (distance + self.past).clamp(0, self.past + self.look)].masked_fill(~seen, -torch.inf)
        query = self._split(self.query(frames))
        key, value = (self._split(part) for part in self.key_value(around).chunk(2, -1))
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))

    def _split(self, frames: Float[Tensor, "B N D"]) -> Float[Tensor, "B H N d"]:
        return frames.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Attention to the surroundings, then each frame by itself; normalised before each."""

    def __init__(self, width: int, heads: int, past: int, look: int, dropout: float) -> None:
        super().__init__()
        self.past, self.look = past, look
        self.attention = WindowAttention(width, heads, past, look)
        self.before = nn.LayerNorm(width)
        self.alone = _alone(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, around: Float[Tensor, "B K D"], offset: int, count: int) -> Float[Tensor, "B n D"]:
        """Answers for `count` frames from the place `offset` of `around` on."""
        normal = self.before(around)
        x = around[:, offset : offset + count]
        x = x + self.dropout(self.attention(normal[:, offset : offset + count], normal, offset))
        return x + self.alone(x)


class DecoderLayer(nn.Module):
    """Attention to the frames decoded before and to the memory within `align` frames, then each frame by itself."""

    def __init__(self, width: int, heads: int, past: int, align: int, dropout: float) -> None:
        super().__init__()
        self.past, self.align = past, align
        self.own, self.other = WindowAttention(width, heads, past, 0), WindowAttention(width, heads, align, align)
        self.before_own, self.before_other, self.before_memory = (nn.LayerNorm(width) for _ in range(3))
        self.alone = _alone(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, decoded: Float[Tensor, "B K D"], count: int, memory: Float[Tensor, "B M D"], offset: int
    ) -> Float[Tensor, "B n D"]:
        """Answers for the last `count` frames of `decoded`, the first of which is at the place `offset` of `memory`."""
        normal, place = self.before_own(decoded), decoded.shape[1] - count
        x = decoded[:, place:]
        x = x + self.dropout(self.own(normal[:, place:], normal, place))
        x = x + self.dropout(self.other(self.before_other(x), self.before_memory(memory), offset))
        return x + self.alone(x)


def _alone(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width),
        nn.Dropout(dropout),
    )  # fmt: skip
