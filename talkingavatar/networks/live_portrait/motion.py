"""LivePortrait's motion extractor (arXiv 2407.03168): a ConvNeXt V2 (arXiv 2301.00808) with heads for face and pose."""

from __future__ import annotations

from itertools import pairwise
from math import pi

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.networks.live_portrait.keypoints import Motion
from talkingavatar.networks.live_portrait.widths import PUBLISHED, Widths

BINS, BIN, FIRST = 66, 3.0, -97.5  # of an angle; degrees apart; degrees of the first
EPS = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Channels compete: each is scaled by its share in the whole picture's response."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, 1, 1, channels)) for _ in range(2))

    def forward(self, x: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W C"]:
        response = x.norm(dim=(1, 2), keepdim=True)
        share = response / (response.mean(-1, keepdim=True) + EPS)
        return x + self.gamma * x * share + self.beta


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = ResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        inner = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        inner = self.pwconv2(self.grn(F.gelu(self.pwconv1(inner))))
        return x + inner.permute(0, 3, 1, 2)


class Detector(nn.Module):
    """The backbone and its heads."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        channels, count = widths.channels, 3 * widths.keypoints
        stem = nn.Sequential(nn.Conv2d(3, channels[0], 4, stride=4), ChannelNorm(channels[0]))
        halves = (nn.Sequential(ChannelNorm(a), nn.Conv2d(a, b, 2, stride=2)) for a, b in pairwise(channels))
        self.downsample_layers = nn.ModuleList([stem, *halves])
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width) for _ in range(blocks)))
            for width, blocks in zip(channels, widths.stages, strict=True)
        )
        self.norm = nn.LayerNorm(channels[-1], eps=EPS)
        heads = {"kp": count, "scale": 1, "pitch": BINS, "yaw": BINS, "roll": BINS, "t": 3, "exp": count}
        for name, numbers in heads.items():
            setattr(self, f"fc_{name}", nn.Linear(channels[-1], numbers))

    def forward(self, pictures: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B N"]]:
        x = pictures
        for halved, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(halved(x))
        x = self.norm(x.mean((2, 3)))
        return {name.removeprefix("fc_"): head(x) for name, head in self.named_children() if name.startswith("fc_")}


class MotionExtractor(nn.Module):
    """Pictures in [0, 1] to what moves their keypoints."""

    def __init__(self, widths: Widths = PUBLISHED) -> None:
        super().__init__()
        self.detector = Detector(widths)

    def forward(self, pictures: Float[Tensor, "B 3 H W"]) -> Motion:
        told = self.detector(pictures)
        angles = torch.stack([expected_angle(told[name]) for name in ("pitch", "yaw", "roll")], 1)
        kp, exp = (told[name].unflatten(1, (-1, 3)) for name in ("kp", "exp"))
        return Motion(kp, exp, told["scale"], angles, told["t"])


def expected_angle(scores: Float[Tensor, "B 66"]) -> Float[Tensor, " B"]:
    """The expected angle, radians."""
    bins = torch.arange(BINS, dtype=scores.dtype, device=scores.device)
    return ((scores.softmax(1) @ bins) * BIN + FIRST) * pi / 180
