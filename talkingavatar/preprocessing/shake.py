"""How far a camera that shakes or drifts has moved a still scene, by patches of it that are found again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.preprocessing.patches import cut, grey, peaks, search, strengths, structure

PATCHES, APART = 24, 15  # at most, and pixels between them
TEXTURE = 1.0  # squared grey levels a pixel by which a patch must differ from its neighbours
REACH = 14  # pixels a patch is looked for from its place
NEAR = 3e-4  # correlation that a squared pixel of distance costs: railings look alike
SAME = 0.8  # correlation above which a patch is found again
FEWEST = 6  # patches that tell a shift
AGREED = 0.5  # pixels from the median within which at least half of them must be


@dataclass(frozen=True)
class Scene:
    """Patches of what does not move by itself, in one frame; pixels of the reduced picture."""

    corners: Float[ndarray, "N 2"]  # centres x, y
    patches: Float[ndarray, "N P P"]  # zero mean, unit norm

    def shift(self, picture: UInt8[ndarray, "h w 3"]) -> Float[ndarray, " 2"] | None:
        """Pixels x, y by which a picture shows the scene further on; None where too few patches agree."""
        found, score = search(grey(picture), self.patches, self.corners, REACH, NEAR)
        moved = (found - self.corners)[score > SAME]
        if len(moved) < FEWEST:
            return None
        middle = np.median(moved, axis=0)
        agreed = np.linalg.norm(moved - middle, axis=1) < AGREED
        return moved[agreed].mean(axis=0) if agreed.mean() > 0.5 else None


def scene(picture: UInt8[ndarray, "h w 3"], clear: Bool[ndarray, "h w"]) -> Scene:
    """The best patches of what is clear of the person."""
    seen = grey(picture)
    weaker, _ = strengths(*structure(seen))
    corners = peaks(weaker, clear, TEXTURE, APART, PATCHES)
    return Scene(corners, cut(seen, corners))


def shifted(values: Shaped[ndarray, "H W ..."], by: Float[ndarray, " 2"]) -> Shaped[ndarray, "H W ..."]:
    """Moved by pixels x, y, smoothly between pixels (truth values: the nearest); 0 where nothing comes in."""
    image = Image.fromarray(values.astype(np.uint8) if values.dtype == bool else values)
    kind = Image.Resampling.NEAREST if values.dtype == bool else Image.Resampling.BICUBIC
    right, down = by.tolist()
    moved = image.transform(image.size, Image.Transform.AFFINE, (1, 0, -right, 0, 1, -down), kind)
    return np.asarray(moved).astype(values.dtype)
