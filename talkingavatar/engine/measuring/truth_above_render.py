"""Strips of pictures: ground truth above render."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.engine.media.end_of_fit import label
from talkingavatar.runtime.files import whole

Picture = UInt8[ndarray, "H W 3"]
Shown = UInt8[ndarray, "h w 3"]  # of another size
Pair = tuple[Picture, Picture]  # ground truth and render
TRUTH = "ground truth"
TALLEST = 360  # pixels of a picture in a strip
SQUARE = 160  # pixels of one in several strips


def strip(pairs: list[Pair], title: str, file: Path) -> None:
    """Ground truth above, render below, one column a frame."""
    columns = [_column(pair, (TRUTH, title), _smaller) for pair in pairs]
    _save(np.concatenate(columns, 1), file)


def strips(pairs: Mapping[str, Pair], across: int, file: Path, above: str = TRUTH) -> None:
    """Several strips of squares, `across` pairs wide, each render with its name, the other with what it is."""
    columns = [_column(pair, (above, name), _square) for name, pair in pairs.items()]
    columns += [np.full_like(columns[0], 255)] * (-len(columns) % across)
    rows = [np.concatenate(columns[i : i + across], 1) for i in range(0, len(columns), across)]
    _save(np.concatenate(rows), file)


def _column(pair: Pair, titles: tuple[str, str], shrink: Callable[[Picture], Shown]) -> Shown:
    return np.concatenate([label(shrink(picture), title) for picture, title in zip(pair, titles, strict=True)])


def _save(picture: Picture, file: Path) -> None:
    with whole(file) as temporary:
        Image.fromarray(picture).save(temporary)


def _smaller(picture: Picture) -> Shown:
    scale = min(1.0, TALLEST / picture.shape[0])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def _square(picture: Picture) -> Shown:
    return np.asarray(Image.fromarray(picture).resize((SQUARE, SQUARE), Image.Resampling.LANCZOS))
