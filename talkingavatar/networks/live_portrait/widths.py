"""How wide LivePortrait's networks are: the published numbers, and whatever a test needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Widths:
    """The defaults are the published ones."""

    keypoints: int = 21
    picture: int = 256  # side of what is read, pixels; what is made has twice as many
    block: int = 64  # channels of the first layer of pictures
    most: int = 512  # channels of the appearance, which are folded to a volume
    depth: int = 16  # of the volume
    volume_blocks: int = 6
    flow_block: int = 32
    flow_most: int = 1024
    flow_levels: int = 5  # the volume is halved so often
    compressed: int = 4  # channels of the volume that the flow is found with
    stages: tuple[int, ...] = (3, 3, 9, 3)  # blocks of the motion extractor
    channels: tuple[int, ...] = (96, 192, 384, 768)
    styled: int = 128  # channels between appearance and what it does to the generator's

    @property
    def volume(self) -> int:
        """Channels of the appearance volume."""
        return self.most // self.depth

    @property
    def decoded(self) -> int:
        """Channels of what the generator starts from."""
        return min(self.most, 4 * self.block)


PUBLISHED = Widths()
