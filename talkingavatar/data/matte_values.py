"""What the pixels of a picture that is meant as a matte say: which channel, which value is full coverage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import damage_told

SURVEYED = 16  # pictures that are looked at to learn how all of a set are meant
FULL = (1, 255, 65535)  # values of full coverage that pictures of whole numbers have
COLOURED = 40  # by which the channels of a pixel differ that has a colour
MANY_COLOURS = 32  # more than that is a photograph, not a matte
GREY = 0.7  # share of a picture between black and white from which it is a photograph as well
HUE = 0.05  # share of the coloured pixels that makes a colour of its own, not a mixture at an edge


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


def survey(pictures: Iterable[tuple[str, Image.Image]], field: str, action: str) -> Values:
    """How pictures are meant, from some of them.

    Args:
        pictures: where each lies, and what it is.
        field: by which a user named them, for errors.

    Raises:
        UserError: they are photographs.
    """
    alpha, labels, top, levels = False, False, 0.0, set[float]()
    deep, shades = False, list[float]()
    place = ""
    for place, image in pictures:
        deep |= image.mode == "F"
        plain = _plain(image)
        alpha |= "A" in plain.mode and bool((np.array(plain.getchannel("A")) < 255).any())
        values, colours = np.nan_to_num(_brightest(plain)), _colours(plain)
        if len(colours) > MANY_COLOURS and not alpha:
            raise _no_matte(field, f"{place}: a coloured picture", action)
        labels |= (image.mode == "P" and len(colours) > 0) or len(_hues(plain)) > 1
        top = max(top, float(values.max()))
        levels |= set(np.unique(values)[:3].tolist())
        shades.append(float(((values > 0.1 * top) & (values < 0.9 * top)).mean()))
    if deep:
        full = 1.0 if top <= 1 else 255.0
    else:
        full = float(next(value for value in (*FULL, 1 << 31) if value >= top)) if top else 255.0
        full = top if not alpha and len(levels) == 2 and min(levels) == 0 else full
    if not alpha and not labels and np.median(shades or [0.0]) > GREY:
        raise _no_matte(field, f"{place} and others: a grey picture, neither black nor white", action)
    return Values(alpha, labels and not alpha, 255.0 if alpha else full)


def survey_files(files: Sequence[Path], field: str, action: str) -> Values:
    """The same of files, of many some evenly between.

    Raises:
        UserError: one is damaged, or they are photographs.
    """
    places = np.unique(np.linspace(0, len(files) - 1, min(len(files), SURVEYED)).round().astype(int))

    def pictures() -> Iterator[tuple[str, Image.Image]]:
        for file in (files[place] for place in places):
            with damage_told(file, "a whole picture", action), Image.open(file) as image:
                image.load()
                yield str(file), image

    return survey(pictures(), field, action)


def read_matte(file: Path, values: Values, action: str) -> UInt8[ndarray, "h w"]:
    """What a file says of who is there, 0 to 255.

    Raises:
        UserError: it is absent or damaged.
    """
    with damage_told(file, "a whole picture", action), Image.open(file) as image:
        return values.coverage(image)


def _no_matte(field: str, found: str, action: str) -> UserError:
    return UserError(field, found, "the person's coverage, grey or alpha", action)


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


def _coloured(plain: Image.Image) -> Int[ndarray, "N 3"]:
    """The pixels that are not grey."""
    if plain.mode not in ("RGB", "RGBA", "CMYK", "YCbCr"):
        return np.zeros((0, 3), int)
    pixels = np.array(plain.convert("RGB")).reshape(-1, 3).astype(int)
    return pixels[np.ptp(pixels, axis=1) > COLOURED]


def _colours(plain: Image.Image) -> Int[ndarray, " C"]:
    """Those of the pixels that are not grey, each once."""
    return np.unique(_coloured(plain) // 16 @ (256, 16, 1))


def _hues(plain: Image.Image) -> Int[ndarray, " C"]:
    """Colours whatever their brightness, as many pixels have them: several are names of things."""
    pixels = _coloured(plain)
    shares = pixels / pixels.max(axis=1, keepdims=True) if len(pixels) else pixels
    hues, counts = np.unique((4 * shares).round().astype(int) @ (25, 5, 1), return_counts=True)
    return hues[counts > HUE * len(pixels)]
