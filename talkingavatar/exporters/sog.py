"""PlayCanvas' SOG, version 2: lossless WebP pictures of columns and a description, in a zip.

Format: developer.playcanvas.com, "The SOG format"; of view-dependent colour nothing is written.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.exporters.static import morton
from talkingavatar.types import Gaussians

WORDS = 256  # of a codebook
ROUNDS = 12  # of its clustering
DROPPED = 252  # alpha of a quaternion whose first number was left out; one more for each after it
Pictures = dict[str, UInt8[ndarray, "N 4"]]


def sog(gaussians: Gaussians, surfels: bool) -> bytes:
    """The file of N settled Gaussians."""
    order = morton(gaussians.means)
    g = Gaussians(**{name: value[order] for name, value in vars(gaussians).items()})
    pictures: Pictures = {}
    means = _places(g.means.double().numpy(), pictures)
    book, numbers = _codebook(g.scales.log().double().numpy())
    pictures["scales.webp"] = _opaque(numbers)
    colours, told = _codebook(g.sh[:, 0].double().numpy())
    alpha = (255 * g.opacities).round().byte().numpy()
    pictures["sh0.webp"] = np.concatenate([told, alpha[:, None]], 1)
    pictures["quats.webp"] = _turns(g.quats.numpy())
    document: dict[str, Any] = {
        "version": 2,
        "count": len(g),
        **({"model": "2dgs"} if surfels else {}),
        "means": means,
        "scales": {"codebook": book.tolist(), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": colours.tolist(), "files": ["sh0.webp"]},
    }
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("meta.json"), json.dumps(document))
        for name, texels in pictures.items():
            archive.writestr(zipfile.ZipInfo(name), _webp(texels))
    return held.getvalue()


def _places(means: Float[ndarray, "N 3"], pictures: Pictures) -> dict[str, Any]:
    """16 bits an axis of sign(v) log(|v| + 1), in two pictures."""
    shrunk = np.sign(means) * np.log1p(np.abs(means))
    low, high = shrunk.min(0), shrunk.max(0)
    levels = np.rint((shrunk - low) / np.maximum(high - low, 1e-12) * 65535).astype(np.uint32)
    pictures["means_l.webp"] = _opaque((levels & 255).astype(np.uint8))
    pictures["means_u.webp"] = _opaque((levels >> 8).astype(np.uint8))
    return {"mins": low.tolist(), "maxs": high.tolist(), "files": ["means_l.webp", "means_u.webp"]}


def _codebook(values: Float[ndarray, "N 3"]) -> tuple[Float[ndarray, " 256"], UInt8[ndarray, "N 3"]]:
    """256 numbers that stand for all, by Lloyd's rounds from their quantiles; and which of them each is."""
    flat = np.sort(values.ravel())
    book = np.quantile(flat, (np.arange(WORDS) + 0.5) / WORDS)
    sums = np.concatenate([[0.0], flat.cumsum()])
    for _ in range(ROUNDS):
        edges = np.concatenate([[0], np.searchsorted(flat, (book[1:] + book[:-1]) / 2), [len(flat)]])
        counts = np.diff(edges)
        book = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), book)
    return book, np.searchsorted((book[1:] + book[:-1]) / 2, values).astype(np.uint8)


def _turns(quats: Float[ndarray, "N 4"]) -> UInt8[ndarray, "N 4"]:
    """The three smaller numbers of (w, x, y, z), the largest made positive, and which that was."""
    largest = np.abs(quats).argmax(1)
    whole = quats * np.sign(np.take_along_axis(quats, largest[:, None], 1))
    kept = np.array([[axis for axis in range(4) if axis != left] for left in range(4)])[largest]
    small = np.take_along_axis(whole, kept, 1) * math.sqrt(2) / 2 + 0.5
    told = np.rint(255 * small).clip(0, 255).astype(np.uint8)
    return np.concatenate([told, (DROPPED + largest)[:, None].astype(np.uint8)], 1)


def _opaque(values: UInt8[ndarray, "N 3"]) -> UInt8[ndarray, "N 4"]:
    return np.concatenate([values, np.full((len(values), 1), 255, np.uint8)], 1)


def _webp(texels: UInt8[ndarray, "N 4"]) -> bytes:
    """A texel a Gaussian, row by row; sides are multiples of four."""
    width = 4 * math.ceil(math.sqrt(len(texels)) / 4)
    height = 4 * math.ceil(len(texels) / width / 4)
    picture = np.zeros((height * width, 4), np.uint8)
    picture[: len(texels)] = texels
    held = io.BytesIO()
    # `exact`: else colours of clear texels are not kept.
    Image.fromarray(picture.reshape(height, width, 4), "RGBA").save(held, "WEBP", lossless=True, exact=True)
    return held.getvalue()
