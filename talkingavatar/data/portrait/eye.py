"""One eye of a portrait as a picture of its whole ball: what lids hide is filled in, iris and white by themselves.

The picture lies in the ball's own frame, so that it turns with the gaze. The iris is found as the darkest disc; where
it is hidden it is as the rest of it at the same distance from the pupil. The white goes on from where it is seen.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from talkingavatar.data.portrait.inside import showing
from talkingavatar.data.portrait.kernels import sample

HALF, TEXELS = 0.0135, 108  # metres from the middle to the border of the picture; its side
METRE = TEXELS / (2 * HALF)  # texels
RADII = np.arange(4.5, 7.1, 0.25) * 1e-3  # metres, of an iris
ASIDE = np.arange(-2.0, 2.1, 0.5) * 1e-3  # metres, by which it may lie off the ball's axis: gaze is tracked so well
RIM = (0.92, 1.08)  # of the iris' radius, between which it passes into the white
BLUR = (1.2e-3, 4e-3)  # metres over which the white goes on; the second where the first finds none
SEAM = 0.7e-3  # metres over which what is seen passes into what is filled
FEWEST = 6  # pixels of the portrait that tell what an eye looks like
WHITE, BROWN = (205.0, 200.0, 196.0), (70.0, 52.0, 44.0)  # of an eye that is not seen at all


class Eye:
    """Colours of a ball's front."""

    def __init__(
        self,
        ahead: Float[ndarray, "n 2"],
        screen: Float[ndarray, "n 2"],
        shown: Bool[ndarray, "H W"],
        picture: UInt8[ndarray, "H W 3"],
    ) -> None:
        """
        Args:
            ahead: vertices of the ball's front, x and y from its middle where it looks ahead, metres.
            screen: the same in the portrait, pixels.
            shown: pixels of the portrait that show this eye.
            picture: the portrait.
        """
        axis = (np.arange(TEXELS) + 0.5) / METRE - HALF
        place = np.stack(np.meshgrid(axis, axis), -1)
        to_picture = np.linalg.lstsq(np.concatenate([ahead, np.ones((len(ahead), 1))], 1), screen, rcond=None)[0]
        at = np.concatenate([place, np.ones((TEXELS, TEXELS, 1))], -1) @ to_picture
        inner = binary_erosion(shown)
        known = showing(inner if inner.sum() >= FEWEST else shown, at.reshape(-1, 2)).reshape(TEXELS, TEXELS)
        seen = sample(picture, at.astype(np.float32))
        self.middle, self.radius = _iris(seen.mean(-1), known, place)
        filled = _filled(seen, known, np.linalg.norm(place - self.middle, axis=-1) / self.radius)
        own = (distance_transform_edt(known) / (SEAM * METRE)).clip(0, 1)[..., None]
        self.known = known
        self.colours = (own * seen + (1 - own) * filled).astype(np.float32)

    def looked_up(self, at: Float[ndarray, "P 2"]) -> tuple[Float[ndarray, "P 3"], Bool[ndarray, " P"]]:
        """Colours in [0, 255] at places of the ball (as `ahead`), and whether the portrait shows those."""
        texels = ((at + HALF) * METRE).astype(np.float32)
        return sample(self.colours, texels[None])[0], showing(self.known, texels)


def _iris(
    bright: Float[ndarray, "S S"], known: Bool[ndarray, "S S"], place: Float[ndarray, "S S 2"]
) -> tuple[Float[ndarray, " 2"], float]:
    """Middle and radius of the disc that is darkest beside the ring round it; nearer to the axis where alike."""
    best, found = -np.inf, (np.zeros(2), float(RADII.mean()))
    for x in ASIDE:
        for y in ASIDE:
            away = np.linalg.norm(place - (x, y), axis=-1)
            for radius in RADII:
                disc, ring = known & (away < 0.9 * radius), known & (away > 1.1 * radius) & (away < 1.5 * radius)
                if min(disc.sum(), ring.sum()) < FEWEST:
                    continue
                contrast = float(bright[ring].mean() - bright[disc].mean()) - 2e3 * float(np.hypot(x, y))
                if contrast > best:
                    best, found = contrast, (np.array([x, y]), float(radius))
    return found


def _filled(
    seen: Float[ndarray, "S S 3"], known: Bool[ndarray, "S S"], away: Float[ndarray, "S S"]
) -> Float[ndarray, "S S 3"]:
    """Iris and white everywhere; `away` from the pupil, in radii of the iris."""
    steps = np.linspace(0, RIM[1], 12)
    inside, rings = known & (away < RIM[1]), []
    for low, high in pairwise(steps):
        ring = inside & (away >= low) & (away < high)
        rings.append(np.median(seen[ring], axis=0) if ring.any() else np.full(3, np.nan))
    told, middles = np.array(rings), (steps[:-1] + steps[1:]) / 2
    there = np.isfinite(told[:, 0])
    iris = np.tile(np.array(BROWN), (*away.shape, 1))
    if there.any():
        iris = np.stack([np.interp(away, middles[there], told[there, c]) for c in range(3)], -1)
    white = _spread(seen, known & (away > 1.12))
    share = ((away - RIM[0]) / (RIM[1] - RIM[0])).clip(0, 1)[..., None]
    return (1 - share) * iris + share * white


def _spread(seen: Float[ndarray, "S S 3"], known: Bool[ndarray, "S S"]) -> Float[ndarray, "S S 3"]:
    """Colours that go on smoothly from where they are known."""
    out = np.tile(np.median(seen[known], axis=0) if known.any() else np.array(WHITE), (*known.shape, 1))
    for blur in BLUR[::-1]:
        weight = gaussian_filter(known.astype(np.float64), blur * METRE)
        sums = np.stack([gaussian_filter(known * seen[..., c], blur * METRE) for c in range(3)], -1)
        trust = (weight / 0.02).clip(0, 1)[..., None]
        out = trust * sums / weight.clip(1e-9)[..., None] + (1 - trust) * out
    return out
