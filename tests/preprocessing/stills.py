"""A clip of pictures in memory, for landmark sources."""

from dataclasses import dataclass, field

import numpy as np


def quietly(title, total):
    return lambda: None


@dataclass
class Stills:
    """What a source needs of a clip; `reads` tells from where it was read."""

    pictures: np.ndarray  # (T, h, w, 3) uint8
    shots: list
    scale: float = 1.0
    reads: list = field(default_factory=list)

    @property
    def frames(self):
        return len(self.pictures)

    @property
    def width(self):
        return round(self.pictures.shape[2] * self.scale)

    @property
    def height(self):
        return round(self.pictures.shape[1] * self.scale)

    @property
    def to_capture(self):
        return self.scale, self.scale, 0.0, 0.0

    def source_frames(self, start=0):
        self.reads.append(start)
        yield from self.pictures[start:]


def blank(frames, width=64, height=48):
    return Stills(np.zeros((frames, height, width, 3), np.uint8), [(0, frames)])
