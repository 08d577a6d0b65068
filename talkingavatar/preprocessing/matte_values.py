"""What the pixels of a picture that is meant as a matte say: which channel, which value is full coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.data.arrays import damage_told
from talkingavatar.errors import UserError

FULL = (1, 255, 65535)  # values of full coverage that pictures of whole numbers have
COLOURED = 40  # by which the channels of a pixel differ that has a colour
MANY_COLOURS = 32  # more than that is a photograph, not a matte


@dataclass(frozen=True)
class Values:
    """How pictures of one set are meant.

    Args:
        alpha: their alpha channel says who is there.
        labels: their colours are names of things: whatever is not black is the person.
        full: the value of full coverage.
        inverted: 0 is full coverage.
    """

    alpha: bool = True
    labels: bool = False
    full: float = 255
    inverted: bool = False

    def coverage(self, image: Image.Image) -> UInt8[ndarray, "h w"]:
        """0 to 255."""
        plain = _plain(image)
        values = np.array(plain.getchannel("A")) if self.alpha and "A" in plain.mode else _brightest(plain)
        share = (values > 0).astype(np.float64) if self.labels else (values / self.full).clip(0, 1)
        share = 1 - share if self.inverted else share
        return (255 * share).round().astype(np.uint8)

    def told(self) -> str:
        """In words."""
        channel = "alpha" if self.alpha else "whatever is not black" if self.labels else "brightness"
        return f"{channel}, {self.full:g} is full" + (", inverted" if self.inverted else "")


def survey(files: Sequence[Path], action: str) -> Values:
    """How pictures are meant, from some of them.

    Raises:
        UserError: one is damaged, or they are photographs.
    """
    alpha, labels, top, levels = False, False, 0.0, set[float]()
    deep = False
    for file in files:
        with damage_told(file, "a whole picture", action), Image.open(file) as image:
            deep |= image.mode == "F"
            plain = _plain(image)
            alpha |= "A" in plain.mode and bool((np.array(plain.getchannel("A")) < 255).any())
            values, colours = _brightest(plain), _colours(plain)
        if colours > MANY_COLOURS and not alpha:
            raise UserError("mattes", f"{file}: a coloured picture", "the person's coverage, grey or alpha", action)
        labels |= image.mode == "P" and colours > 0
        top = max(top, float(values.max()))
        levels |= set(np.unique(values)[:3].tolist())
    if deep:
        full = 1.0 if top <= 1 else 255.0
    else:
        full = float(next(value for value in (*FULL, 1 << 31) if value >= top)) if top else 255.0
        full = top if not alpha and len(levels) == 2 and min(levels) == 0 else full
    return Values(alpha, labels and not alpha, 255.0 if alpha else full)


def _plain(image: Image.Image) -> Image.Image:
    """With palettes and transparency unpacked."""
    if "transparency" in image.info and image.mode in ("P", "L", "RGB"):
        return image.convert("RGBA")
    return image.convert("RGBA" if image.mode == "PA" else "RGB") if image.mode in ("P", "PA") else image


def _brightest(plain: Image.Image) -> Shaped[ndarray, "h w"]:
    """Greys as they are stored, with any number of bits; of colours the brightest channel."""
    if plain.mode in ("1", "LA"):
        return np.array(plain.convert("L"))
    if plain.mode in ("L", "F") or plain.mode.startswith("I"):
        return np.array(plain)
    return np.array(plain.convert("RGB")).max(axis=2)


def _colours(plain: Image.Image) -> int:
    """How many different colours a picture has that are not grey."""
    if plain.mode not in ("RGB", "RGBA", "CMYK", "YCbCr"):
        return 0
    pixels = np.array(plain.convert("RGB")).reshape(-1, 3).astype(int)
    coloured = pixels[np.ptp(pixels, axis=1) > COLOURED]
    return len(np.unique(coloured // 16 @ (256, 16, 1)))
