"""LivePortrait's generator (arXiv 2407.03168): warped features to a picture, by SPADE blocks (arXiv 1903.07291)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.networks.live_portrait.blocks import SpectralConv
from talkingavatar.networks.live_portrait.widths import PUBLISHED, Widths

MIDDLE = 6
SLOPE = 0.2


class Spade(nn.Module):
    """Normalises, then scales and shifts every pixel as the features say."""

    def __init__(self, channels: int, features: int, styled: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(features, styled, 3, padding=1), nn.ReLU())
        self.mlp_gamma, self.mlp_beta = (nn.Conv2d(styled, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Float[Tensor, "B C H W"], features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B C H W"]:
        told = self.mlp_shared(F.interpolate(features, size=x.shape[2:]))
        return F.instance_norm(x) * (1 + self.mlp_gamma(told)) + self.mlp_beta(told)


class SpadeBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, widths: Widths) -> None:
        super().__init__()
        middle, told = min(inputs, outputs), (widths.decoded, widths.styled)
        self.conv_0, self.conv_1 = SpectralConv(inputs, middle, 3), SpectralConv(middle, outputs, 3)
        self.norm_0, self.norm_1 = Spade(inputs, *told), Spade(middle, *told)
        self.changes = inputs != outputs
        if self.changes:
            self.conv_s, self.norm_s = SpectralConv(inputs, outputs, 1, bias=False), Spade(inputs, *told)

    def forward(self, x: Float[Tensor, "B C H W"], features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B E H W"]:
        beside = self.conv_s(self.norm_s(x, features)) if self.changes else x
        inner = self.conv_0(F.leaky_relu(self.norm_0(x, features), SLOPE))
        return beside + self.conv_1(F.leaky_relu(self.norm_1(inner, features), SLOPE))


class SpadeGenerator(nn.Module):
    """Pictures in [0, 1] with eight times the features' side."""

    def __init__(self, widths: Widths = PUBLISHED) -> None:
        super().__init__()
        inner = widths.decoded
        self.fc = nn.Conv2d(inner, 2 * inner, 3, padding=1)
        for number in range(MIDDLE):
            self.add_module(f"G_middle_{number}", SpadeBlock(2 * inner, 2 * inner, widths))
        self.up_0 = SpadeBlock(2 * inner, inner, widths)
        self.up_1 = SpadeBlock(inner, widths.block, widths)
        self.conv_img = nn.Sequential(nn.Conv2d(widths.block, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B 3 H W"]:
        x = self.fc(features)
        for number in range(MIDDLE):
            x = self.get_submodule(f"G_middle_{number}")(x, features)
        for block in (self.up_0, self.up_1):
            x = block(F.interpolate(x, scale_factor=2), features)
        return self.conv_img(F.leaky_relu(x, SLOPE)).sigmoid()
