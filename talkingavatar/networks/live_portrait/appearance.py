"""LivePortrait's appearance extractor (arXiv 2407.03168): a picture to a volume of features, which is then warped."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.networks.live_portrait.blocks import Block, HalvedPicture, VolumeResidual
from talkingavatar.networks.live_portrait.widths import PUBLISHED, Widths

HALVINGS = 2


class AppearanceExtractor(nn.Module):
    """Pictures in [0, 1]; the volume has a quarter of their side."""

    def __init__(self, widths: Widths = PUBLISHED) -> None:
        super().__init__()
        channels = [min(widths.most, widths.block << level) for level in range(HALVINGS + 1)]
        self.first = Block(2, 3, widths.block)
        self.down_blocks = nn.ModuleList(HalvedPicture(a, b) for a, b in pairwise(channels))
        self.second = nn.Conv2d(channels[-1], widths.most, 1)
        self.resblocks_3d = nn.Sequential()
        for number in range(widths.volume_blocks):
            self.resblocks_3d.add_module(f"3dr{number}", VolumeResidual(widths.volume))
        self.shape = (widths.volume, widths.depth)

    def forward(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C Z h w"]:
        x = self.first(pictures)
        for halved in self.down_blocks:
            x = halved(x)
        return self.resblocks_3d(self.second(x).unflatten(1, self.shape))
