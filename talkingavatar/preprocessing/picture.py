"""A picture file as it is meant to be seen: upright, in sRGB of 8 bits, on white."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageCms, ImageOps

from talkingavatar.errors import UserError

MANY = {"MPO"}  # formats whose further pictures are a camera's depth or brightness, not another moment
SMALLEST = 64  # pixels of a picture's short side


def read_picture(file: Path, field: str) -> UInt8[ndarray, "H W 3"]:
    """
    Args:
        field: by which a user named it.

    Raises:
        UserError: it is no picture, damaged, moves, or is too small or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                _check(opened, file, field)
                upright = ImageOps.exif_transpose(opened)
                upright.load()
    except FileNotFoundError as error:
        raise UserError(field, f"{file}: nothing there", "a picture", "correct the path") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        expected = f"at most {Image.MAX_IMAGE_PIXELS} pixels"
        raise UserError(field, f"{file}: too large", expected, "give a smaller one") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's own are among them
        raise UserError(field, f"{file}: not to be read ({error})", "a PNG or JPEG", "give another") from error
    return np.asarray(_on_white(_coloured(upright)))


def _check(opened: Image.Image, file: Path, field: str) -> None:
    count = 1 if opened.format in MANY else getattr(opened, "n_frames", 1)
    if count > 1:
        raise UserError(field, f"{file}: {count} pictures", "one", "give one of them, or video= for a film")
    if min(opened.size) < SMALLEST:
        found = "{} x {} pixels".format(*opened.size)
        raise UserError(field, f"{file}: {found}", f"at least {SMALLEST} each way", "give a larger one")


def _coloured(picture: Image.Image) -> Image.Image:
    """In sRGB, with its alpha if there is one."""
    if picture.mode.startswith("I"):  # 16 bits of grey
        grey = (np.asarray(picture, np.float64) / 257).round().clip(0, 255).astype(np.uint8)
        return Image.fromarray(np.repeat(grey[..., None], 3, 2))
    if "transparency" in picture.info or picture.mode in ("P", "PA", "LA", "La", "RGBa"):
        return picture.convert("RGBA")
    if picture.mode in ("RGB", "RGBA", "CMYK", "L") and (profile := picture.info.get("icc_profile")):
        return _in_srgb(picture, profile)
    return picture if picture.mode == "RGBA" else picture.convert("RGB")


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """By the colour profile that it says its colours are of; a damaged one is not believed."""
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    try:
        theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        made = ImageCms.profileToProfile(picture, theirs, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture.convert(mode)
    return picture.convert(mode) if made is None else made


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
