"""LivePortrait's warp (arXiv 2407.03168; the flow as in face-vid2vid, arXiv 2011.15126): keypoints move a volume."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.networks.live_portrait.blocks import Block, DoubledVolume, HalvedVolume
from talkingavatar.networks.live_portrait.widths import PUBLISHED, Widths

SPREAD = 0.01  # square of a keypoint's width
SLOPE = 0.01


class Warped(NamedTuple):
    features: Float[Tensor, "B D H W"]  # of the picture that is to be made
    origins: Float[Tensor, "B Z H W 3"]  # x, y, z in the volume that each place comes from, [-1, 1]
    seen: Float[Tensor, "B 1 H W"]  # how far the source shows what lies there, [0, 1]


class Encoder(nn.Module):
    def __init__(self, inputs: int, channels: list[int]) -> None:
        super().__init__()
        widths = [inputs, *channels[1:]]
        self.down_blocks = nn.ModuleList(HalvedVolume(a, b) for a, b in pairwise(widths))

    def forward(self, x: Float[Tensor, "B C Z H W"]) -> list[Float[Tensor, "B _ Z _ _"]]:
        """The input and each level's output."""
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder(nn.Module):
    def __init__(self, inputs: int, channels: list[int]) -> None:
        super().__init__()
        self.up_blocks = nn.ModuleList()
        for level in range(len(channels) - 1, 0, -1):
            joined = 1 if level == len(channels) - 1 else 2
            self.up_blocks.append(DoubledVolume(joined * channels[level], channels[level - 1]))
        self.outputs = channels[0] + inputs
        self.conv = nn.Conv3d(self.outputs, self.outputs, 3, padding=1)
        self.norm = nn.BatchNorm3d(self.outputs)

    def forward(self, levels: list[Float[Tensor, "B _ Z _ _"]]) -> Float[Tensor, "B D Z H W"]:
        x = levels[-1]
        for block, beside in zip(self.up_blocks, reversed(levels[:-1]), strict=True):
            x = torch.cat([block(x), beside], 1)
        return F.relu(self.norm(self.conv(x)))


class Hourglass(nn.Module):
    def __init__(self, inputs: int, widths: Widths) -> None:
        super().__init__()
        channels = [min(widths.flow_most, widths.flow_block << level) for level in range(widths.flow_levels + 1)]
        self.encoder, self.decoder = Encoder(inputs, channels), Decoder(inputs, channels)

    def forward(self, x: Float[Tensor, "B C Z H W"]) -> Float[Tensor, "B D Z H W"]:
        return self.decoder(self.encoder(x))


class DenseMotion(nn.Module):
    """Each keypoint offers a shift of the whole volume; what is learned is where which of them holds."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        offers = widths.keypoints + 1  # one is to stay
        self.hourglass = Hourglass(offers * (widths.compressed + 1), widths)
        outputs = self.hourglass.decoder.outputs
        self.mask = nn.Conv3d(outputs, offers, 7, padding=3)
        self.compress = nn.Conv3d(widths.volume, widths.compressed, 1)
        self.norm = nn.BatchNorm3d(widths.compressed)
        self.occlusion = nn.Conv2d(outputs * widths.depth, 1, 7, padding=3)

    def forward(
        self, volume: Float[Tensor, "B C Z H W"], source: Float[Tensor, "B K 3"], driven: Float[Tensor, "B K 3"]
    ) -> tuple[Float[Tensor, "B Z H W 3"], Float[Tensor, "B 1 H W"]]:
        """Where each place of the volume comes from, and how much of it is seen in the source."""
        small = F.relu(self.norm(self.compress(volume)))
        grid = _grid(small)
        shifts = F.pad(source - driven, (0, 0, 1, 0))[:, :, None, None, None]
        origins = grid + shifts
        offered = small[:, None].expand(-1, origins.shape[1], -1, -1, -1, -1).flatten(0, 1)
        moved = F.grid_sample(offered, origins.flatten(0, 1), align_corners=False).unflatten(0, origins.shape[:2])
        heat = F.pad(_blobs(grid, driven) - _blobs(grid, source), (0, 0, 0, 0, 0, 0, 1, 0))
        found = self.hourglass(torch.cat([heat[:, :, None], moved], 2).flatten(1, 2))
        share = self.mask(found).softmax(1)
        return (share[..., None] * origins).sum(1), self.occlusion(found.flatten(1, 2)).sigmoid()


def _grid(volume: Float[Tensor, "B C Z H W"]) -> Float[Tensor, "Z H W 3"]:
    """x, y, z of every place, each from -1 to 1."""
    z, y, x = (torch.linspace(-1, 1, count, device=volume.device, dtype=volume.dtype) for count in volume.shape[2:])
    return torch.stack(torch.meshgrid(z, y, x, indexing="ij")[::-1], -1)


def _blobs(grid: Float[Tensor, "Z H W 3"], points: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K Z H W"]:
    return (-0.5 / SPREAD * (grid - points[:, :, None, None, None]).square().sum(-1)).exp()


class WarpingModule(nn.Module):
    """A volume whose head is at `source` to the features of a picture where it is at `driven`."""

    def __init__(self, widths: Widths = PUBLISHED) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotion(widths)
        self.third = Block(2, widths.most, widths.decoded, SLOPE)
        self.fourth = nn.Conv2d(widths.decoded, widths.decoded, 1)

    def forward(
        self, volume: Float[Tensor, "B C Z H W"], source: Float[Tensor, "B K 3"], driven: Float[Tensor, "B K 3"]
    ) -> Warped:
        origins, seen = self.dense_motion_network(volume, source, driven)
        moved = F.grid_sample(volume, origins, align_corners=False)
        return Warped(self.fourth(self.third(moved.flatten(1, 2))) * seen, origins, seen)
