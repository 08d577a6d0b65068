"""Strips of pictures: ground truth above render."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.engine.media.end_of_fit import label
from talkingavatar.runtime.files import whole

Pair = tuple[UInt8[ndarray, "H W 3"], UInt8[ndarray, "H W 3"]]  # ground truth and render
TALLEST = 360  # pixels of a picture in a strip


def strip(pairs: list[Pair], title: str, file: Path) -> None:
    """Ground truth above, render below, one column a frame."""
    columns = []
    for truth, drawn in pairs:
        pictures = [label(_smaller(p), t) for p, t in ((truth, "ground truth"), (drawn, title))]
        columns.append(np.concatenate(pictures))
    with whole(file) as temporary:
        Image.fromarray(np.concatenate(columns, 1)).save(temporary)


def _smaller(picture: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "h w 3"]:
    scale = min(1.0, TALLEST / picture.shape[0])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
