"""Ditto's denoiser (arXiv 2411.19509; its transformer is EDGE's, arXiv 2211.10658): LivePortrait's motion from sound.

Keys and shapes are those of the published `lmdm_v0.4_hubert.pth`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log, pi

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor, nn

GUIDANCE, STEPS, SAMPLED = 2.0, 1000, 50


@dataclass(frozen=True)
class Sizes:
    """The defaults are the published ones, but for `heard`, which the file says."""

    motion: int = 265  # scale, 66 bins each of pitch, yaw and roll, shift 3, expression 63
    heard: int = 1103  # sound 1,024, emotion 8, lids 2, gaze 6, canonical keypoints 63
    frames: int = 80  # of a window
    width: int = 512
    inner: int = 1024
    layers: int = 8
    heads: int = 8


PUBLISHED = Sizes()


class Rotary(nn.Module):
    """Turns pairs of channels by an angle that grows along the sequence (arXiv 2104.09864)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        waves = 10000.0 ** -(np.arange(0, width, 2) / width)
        self.freqs = nn.Parameter(torch.from_numpy(waves.astype(np.float32)), requires_grad=False)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        angles = torch.arange(x.shape[1], device=x.device)[:, None] * self.freqs
        a, b = x.unflatten(2, (-1, 2)).unbind(-1)
        cos, sin = angles.cos(), angles.sin()
        return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(2)


class Attending(nn.Module):
    """What a layer of either kind has."""

    def __init__(self, sizes: Sizes, rotary: Rotary) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(sizes.width, sizes.heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(sizes.width, sizes.inner), nn.Linear(sizes.inner, sizes.width)
        self.norm1, self.norm2 = nn.LayerNorm(sizes.width), nn.LayerNorm(sizes.width)
        self.rotary = rotary

    def attended(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        own = self.norm1(x)
        turned = self.rotary(own)
        return self.self_attn(turned, turned, own, need_weights=False)[0]


class Listening(Attending):
    """A layer of the conditions' encoder."""

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        x = x + self.attended(x)
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class Film(nn.Module):
    """Scales and shifts all frames as the step and the whole of the sound say (arXiv 1709.07871)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Mish(), nn.Linear(width, 2 * width))

    def forward(self, x: Float[Tensor, "B T C"], told: Float[Tensor, "B C"]) -> Float[Tensor, "B T C"]:
        scale, shift = self.block(told)[:, None].chunk(2, -1)
        return (scale + 1) * x + shift


class Moving(Attending):
    """A layer of the decoder."""

    def __init__(self, sizes: Sizes, rotary: Rotary) -> None:
        super().__init__(sizes, rotary)
        self.multihead_attn = nn.MultiheadAttention(sizes.width, sizes.heads, batch_first=True)
        self.norm3 = nn.LayerNorm(sizes.width)
        self.film1, self.film2, self.film3 = (Film(sizes.width) for _ in range(3))

    def forward(
        self, x: Float[Tensor, "B T C"], heard: Float[Tensor, "B S C"], told: Float[Tensor, "B C"]
    ) -> Float[Tensor, "B T C"]:
        x = x + self.film1(self.attended(x), told)
        asked, known = self.rotary(self.norm2(x)), self.rotary(heard)
        x = x + self.film2(self.multihead_attn(asked, known, heard, need_weights=False)[0], told)
        return x + self.film3(self.linear2(F.gelu(self.linear1(self.norm3(x)))), told)


class Stack(nn.Module):
    def __init__(self, sizes: Sizes, rotary: Rotary) -> None:
        super().__init__()
        self.stack = nn.ModuleList(Moving(sizes, rotary) for _ in range(sizes.layers))


class Ditto(nn.Module):
    """A window of noisy motion, the frame before it and the conditions of each frame to the motion without noise."""

    def __init__(self, sizes: Sizes = PUBLISHED) -> None:
        super().__init__()
        width = sizes.width
        self.sizes, self.rotary = sizes, Rotary(width)
        self.time_mlp = nn.Sequential(nn.Identity(), nn.Linear(width, 4 * width), nn.Mish())
        self.to_time_cond = nn.Sequential(nn.Linear(4 * width, width))
        self.to_time_tokens = nn.Sequential(nn.Linear(4 * width, 2 * width))
        self.null_cond_embed = nn.Parameter(torch.zeros(1, sizes.frames, width))
        self.null_cond_hidden = nn.Parameter(torch.zeros(1, width))
        self.norm_cond = nn.LayerNorm(width)
        self.input_projection = nn.Linear(2 * sizes.motion, width)
        self.cond_encoder = nn.Sequential(*(Listening(sizes, self.rotary) for _ in range(2)))
        self.cond_projection = nn.Linear(sizes.heard, width)
        self.non_attn_cond_projection = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.seqTransDecoder = Stack(sizes, self.rotary)
        self.final_layer = nn.Linear(width, sizes.motion)

    def forward(
        self, motion: Float[Tensor, "1 T D"], before: Float[Tensor, "1 D"], heard: Float[Tensor, "1 T H"], step: int
    ) -> Float[Tensor, "1 T D"]:
        """Guided: beyond motion without conditions by `GUIDANCE` times what they change."""
        tokens = self.cond_encoder(self.cond_projection(heard))
        whole = self.non_attn_cond_projection(tokens.mean(1))
        tokens, whole = torch.cat([self.null_cond_embed, tokens]), torch.cat([self.null_cond_hidden, whole])
        time = self.time_mlp(self._placed(step))
        times = self.to_time_tokens(time).unflatten(1, (2, -1)).expand(2, -1, -1)
        told, known = self.to_time_cond(time) + whole, self.norm_cond(torch.cat([tokens, times], 1))
        x = self.input_projection(torch.cat([motion, before[:, None].expand(-1, motion.shape[1], -1)], 2))
        x = x.expand(2, -1, -1)
        for layer in self.seqTransDecoder.stack:
            x = layer(x, known, told)
        without, found = self.final_layer(x).split(1)
        return without + GUIDANCE * (found - without)

    def _placed(self, step: int) -> Float[Tensor, "1 C"]:
        half = self.sizes.width // 2
        angles = step * torch.exp(
            torch.arange(half, device=self.null_cond_hidden.device) * (-log(10000.0) / (half - 1))
        )
        return torch.cat([angles.sin(), angles.cos()])[None]

    @torch.no_grad()
    def window(
        self, before: Float[Tensor, "1 D"], heard: Float[Tensor, "1 T H"], noise: torch.Generator
    ) -> Float[Tensor, "1 T D"]:
        """One window's motion; DDIM with all of its noise (eta 1), as published.

        Args:
            before: the motion of the frame before it.
            noise: what the result is drawn with.
        """
        bars = torch.from_numpy(alpha_bars()).float()
        device = self.null_cond_hidden.device

        def drawn() -> Tensor:
            return torch.randn((1, self.sizes.frames, self.sizes.motion), generator=noise).to(device)

        motion = drawn()
        times = torch.linspace(-1, STEPS - 1, SAMPLED + 1).int().flip(0).tolist()[:-1]
        for time, following in pairwise(times):
            clean, bar, next_bar = self(motion, before, heard, time), bars[time], bars[following]
            error = (motion - bar.sqrt() * clean) / (1 - bar).sqrt()
            sigma = ((1 - bar / next_bar) * (1 - next_bar) / (1 - bar)).sqrt()
            motion = next_bar.sqrt() * clean + (1 - next_bar - sigma**2).sqrt() * error + sigma * drawn()
        return self(motion, before, heard, times[-1])


def alpha_bars() -> Float64[np.ndarray, " N"]:
    """Of the cosine schedule (arXiv 2102.09672) at each of the thousand steps."""
    wanted = np.cos((np.arange(STEPS + 1) / STEPS + 0.008) / 1.008 * pi / 2) ** 2
    return np.cumprod(1 - (1 - wanted[1:] / wanted[:-1]).clip(0, 0.999))
