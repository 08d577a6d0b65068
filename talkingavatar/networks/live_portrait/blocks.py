"""Layers that LivePortrait's networks share, with the names that its published files give their weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Block(nn.Module):
    """3 x 3 (x 3) convolution, normalised, rectified."""

    def __init__(self, axes: int, inputs: int, outputs: int, slope: float = 0.0) -> None:
        """
        Args:
            axes: 2 of pictures, 3 of volumes.
            slope: of what is below zero.
        """
        super().__init__()
        self.conv: nn.Module = (nn.Conv2d if axes == 2 else nn.Conv3d)(inputs, outputs, 3, padding=1)
        self.norm: nn.Module = (nn.BatchNorm2d if axes == 2 else nn.BatchNorm3d)(outputs)
        self.slope = slope

    def forward(self, x: Float[Tensor, "B C *space"]) -> Float[Tensor, "B D *space"]:
        return F.leaky_relu(self.norm(self.conv(x)), self.slope)


class HalvedPicture(Block):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(2, inputs, outputs)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        return F.avg_pool2d(super().forward(x), 2)


class HalvedVolume(Block):
    """Its depth stays."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(3, inputs, outputs)

    def forward(self, x: Float[Tensor, "B C Z H W"]) -> Float[Tensor, "B D Z h w"]:
        return F.avg_pool3d(super().forward(x), (1, 2, 2))


class DoubledVolume(Block):
    """Its depth stays."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(3, inputs, outputs)

    def forward(self, x: Float[Tensor, "B C Z H W"]) -> Float[Tensor, "B D Z h w"]:
        return super().forward(F.interpolate(x, scale_factor=(1, 2, 2)))


class VolumeResidual(nn.Module):
    """Normalises before it convolves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv3d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm3d(channels) for _ in range(2))

    def forward(self, x: Float[Tensor, "B C Z H W"]) -> Float[Tensor, "B C Z H W"]:
        inner = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(inner)))


class SpectralConv(nn.Module):
    """A convolution by a matrix of norm 1, whose singular vectors were found in training and come with its weights."""

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight_orig = nn.Parameter(torch.empty(outputs, inputs, size, size))
        nn.init.kaiming_uniform_(self.weight_orig)
        self.register_buffer("weight_u", torch.full((outputs,), outputs**-0.5))
        self.register_buffer("weight_v", torch.full((inputs * size**2,), inputs**-0.5 / size))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        norm = self.weight_u @ self.weight_orig.flatten(1) @ self.weight_v
        return F.conv2d(x, self.weight_orig / norm, self.bias, padding=self.weight_orig.shape[-1] // 2)
