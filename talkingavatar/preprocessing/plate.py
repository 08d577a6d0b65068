"""A clean background plate of a shot with a static camera: what stands behind the subject, from other frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8
from numpy import ndarray
from PIL import Image
from scipy import ndimage

from talkingavatar.preprocessing.matte_kernels import deeper, masked_median
from talkingavatar.preprocessing.shake import Scene, shifted

STILL = 0.03  # mean absolute deviation from the plate of a static camera's picture, of half of the pixels
MENDING = 320  # pixels, about the long side of a picture where its mask is mended
LEAST = 4  # clear frames a pixel needs
MOVED = 0.5  # pixels, mean deviation of a pattern's place from which it is not the background's
SLIVER = 4  # units, half the width of what is not believed by itself
PLAIN = 0.03  # mean gradient up to which a person's clothes may move unseen
PATTERN = 0.012  # mean gradient of what can be told to have moved


@dataclass(frozen=True)
class Plate:
    """The background; where it was never seen it is continued smoothly and `seen` is false."""

    image: UInt8[ndarray, "H W 3"]
    seen: Bool[ndarray, "H W"]
    noise: Float32[ndarray, "H W"]  # mean absolute deviation of the pictures from it, in [0, 1]
    scene: Scene | None = None  # of the camera's place that it is seen from, where the camera shakes

    @cached_property
    def small(self) -> Plate:
        """The plate at the size at which masks are mended; seen where all of a block was."""
        step = mending_step(self.image)
        return Plate(
            reduced(self.image, step), reduced(self.seen.astype(np.float32), step) > 0.99, reduced(self.noise, step)
        )

    def behind(self, picture: UInt8[ndarray, "H W 3"]) -> Plate | None:
        """The plate as the camera that took a picture saw it; None where that cannot be told."""
        if self.scene is None:
            return self
        step = mending_step(picture)
        small = self.scene.shift(reduced(picture, step))
        if small is None:
            return None
        by = step * small
        return Plate(shifted(self.image, by), shifted(self.seen, by), np.maximum(shifted(self.noise, by), 0))


def mending_step(picture: UInt8[ndarray, "H W 3"]) -> int:
    """Pixels a side of the blocks that are one where a mask is mended: no net's mask is finer than that."""
    return max(1, round(max(picture.shape[:2]) / MENDING))


def reduced(values: Shaped[ndarray, "H W ..."], step: int) -> Shaped[ndarray, "h w ..."]:
    """Means of blocks, the last of a row or column of what is left."""
    return np.asarray(Image.fromarray(values).reduce(step))


def enlarged(mask: Float32[ndarray, "h w"], step: int, shape: tuple[int, int]) -> Float32[ndarray, "H W"]:
    """The reverse of `reduced`, blocks running into each other."""
    size = (mask.shape[1] * step, mask.shape[0] * step)
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR))[: shape[0], : shape[1]]


def clean_plate(
    frame: Callable[[int], UInt8[ndarray, "H W 3"]],
    person: Callable[[int], Bool[ndarray, "H W"]],
    taken: Callable[[int], Bool[ndarray, "H W"]],
    chosen: Int[ndarray, " S"],
    margin: float,
    unit: float,
) -> Plate | None:
    """The plate of one shot, or None where the camera moves or too little of the background is seen.

    Args:
        frame, person: picture and mask of a frame by number.
        taken: what the detector took for the person.
        chosen: frames of the shot that it is made of.
        margin: pixels round the person that are not taken for background.
        unit: pixels that are 1 in a picture with a long side of 640.
    """
    stack = np.stack([frame(index) for index in chosen])
    clear = np.stack([~grown(person(index), margin) for index in chosen])
    median, spread, seen, doubted = masked_median(
        stack, clear, np.stack([taken(index) for index in chosen.tolist()]), min(LEAST, len(chosen))
    )
    if seen.mean() < 0.05 or np.median(spread[seen]) > STILL:
        return None
    still = seen & ~_persons(median, spread, seen, doubted, unit)
    # Slivers between what moves are the person's too: the plain parts of a patterned shirt.
    return Plate(continued(median, seen), still & grown(deeper(still, SLIVER * unit), SLIVER * unit), spread)


def _persons(
    median: UInt8[ndarray, "H W 3"],
    spread: Float32[ndarray, "H W"],
    seen: Bool[ndarray, "H W"],
    doubted: Bool[ndarray, "H W"],
    unit: float,
) -> Bool[ndarray, "H W"]:
    """What changes as a person does whom the mask missed: a pattern that moves changes by its gradient a pixel.

    What is plain does not show it; there the mask's word in most frames counts (`doubted`).
    """
    size = 2 * max(1, round(1.5 * unit)) + 1
    rows, columns = np.gradient(median.astype(np.float32).mean(axis=2) / 255)
    pattern = ndimage.uniform_filter(np.hypot(rows, columns), size)
    change = ndimage.uniform_filter(spread, size)
    moved = (change - 1.3 * float(np.median(spread[seen]))) / np.maximum(pattern, 1e-3)  # pixels
    missed = ndimage.uniform_filter(doubted.astype(np.float32), size) > 0.5
    return grown((change > STILL) | (moved > MOVED) & (pattern > PATTERN), 2 * unit) | missed & (pattern < PLAIN)


def combined(plates: list[Plate | None]) -> Plate | None:
    """One plate of several shots, where they show the same background and no camera shakes; else None."""
    made = [plate for plate in plates if plate is not None and plate.scene is None]
    if not made or len(made) < len(plates):
        return None
    first = made[0]
    image, seen, noise = first.image.copy(), first.seen.copy(), first.noise.copy()
    for plate in made[1:]:
        both = seen & plate.seen
        apart = np.abs(image[both].astype(np.int16) - plate.image[both])
        if not both.any() or np.median(apart) > 255 * STILL:
            return None
        new = plate.seen & ~seen
        image[new], noise[new], seen = plate.image[new], plate.noise[new], seen | plate.seen
    return Plate(continued(image, seen), seen, noise)


def continued(image: UInt8[ndarray, "H W 3"], seen: Bool[ndarray, "H W"]) -> UInt8[ndarray, "H W 3"]:
    """Unseen pixels filled from the seen ones round them, the smoother the farther: means of ever coarser grids."""
    levels = [(image * seen[..., None].astype(np.float32), seen.astype(np.float32))]
    while max(levels[-1][1].shape) > 1 and (levels[-1][1] == 0).any():
        levels.append(tuple(_halved(level) for level in levels[-1]))  # type: ignore[arg-type]
    filled = levels[-1][0] / np.maximum(levels[-1][1], 1e-6)[..., None]
    for total, weight in reversed(levels[:-1]):
        zoom = (weight.shape[0] / filled.shape[0], weight.shape[1] / filled.shape[1], 1)
        coarser = ndimage.zoom(filled, zoom, order=1, grid_mode=True, mode="nearest")
        own = total / np.maximum(weight, 1e-6)[..., None]
        filled = np.where(weight[..., None] > 0, own, coarser)
    return np.where(seen[..., None], image, np.clip(filled + 0.5, 0, 255).astype(np.uint8))


def _halved(values: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """Sums over 2x2 blocks; odd sizes repeat nothing (zeros weigh nothing)."""
    height, width = values.shape[:2]
    padded = np.pad(values, [(0, height % 2), (0, width % 2)] + [(0, 0)] * (values.ndim - 2))
    return padded[0::2, 0::2] + padded[1::2, 0::2] + padded[0::2, 1::2] + padded[1::2, 1::2]


def grown(mask: Bool[ndarray, "H W"], pixels: float) -> Bool[ndarray, "H W"]:
    """The mask with all that lies within this distance of it."""
    return ~deeper(~mask, pixels)
