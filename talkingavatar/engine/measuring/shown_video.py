"""The pictures of a video, or a folder of pictures, that others rendered: at a capture's rate and size."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.data.capture import Manifest
from talkingavatar.errors import UserError
from talkingavatar.preprocessing import decode
from talkingavatar.preprocessing.numbering import natural
from talkingavatar.preprocessing.ready_mattes import PICTURES
from talkingavatar.runtime.arrays import damage_told

SAME_RATE = 1e-3  # by which rates may differ and count as one
SAME_SHAPE = 0.02  # the same of shapes
EXPECTED = "a video, or a folder of pictures, of the capture's held-out part"


@dataclass(frozen=True)
class ShownVideo:
    """`count` pictures on the capture's clock.

    Args:
        rate: pictures a second of the file's own clock.
        clock: pictures a second that are taken of it.
        files: of a folder, in order; else there is a `film`.
        told: what was done to it, for a user.
    """

    path: Path
    manifest: Manifest
    rate: float
    clock: float
    count: int
    files: tuple[Path, ...]
    film: decode.Source | None
    told: tuple[str, ...]

    def pictures(self, first: int = 0) -> Iterator[UInt8[ndarray, "H W 3"]]:
        """Those from `first` on, at the capture's size.

        Raises:
            UserError: the file is damaged, or has another shape.
        """
        yield from map(self._fitted, self._stored(first))

    def size(self) -> tuple[int, int]:
        """Width and height, as stored."""
        height, width = next(self._stored(0)).shape[:2]
        return width, height

    def contents(self) -> list[Path]:
        """What a checksum is made of."""
        return list(self.files) or [self.path]

    def _stored(self, first: int) -> Iterator[UInt8[ndarray, "h w 3"]]:
        if self.film is not None:
            yield from decode.pictures(self.film, self.clock, skip=first)
            return
        for k in range(first, self.count):
            yield self._read(self.files[min(round(k * self.rate / self.clock), len(self.files) - 1)])

    def _read(self, file: Path) -> UInt8[ndarray, "h w 3"]:
        """What is see-through shows the capture's background."""
        with damage_told(file, "a picture", "render it again"), Image.open(file) as image:
            if not image.has_transparency_data:
                return np.array(image.convert("RGB"))
            behind = tuple(round(255 * value) for value in self.manifest.background)
            canvas = Image.new("RGBA", image.size, (*behind, 255))
            return np.array(Image.alpha_composite(canvas, image.convert("RGBA")).convert("RGB"))

    def _fitted(self, picture: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "H W 3"]:
        size = self.manifest.width, self.manifest.height
        height, width = picture.shape[:2]
        if (width, height) == size:
            return picture
        pixel = 1.0 if self.film is None else self.film.aspect
        if abs(width * pixel / height / (size[0] / size[1]) - 1) > SAME_SHAPE:
            found = f"{self.path}: pictures of {width}x{height} pixels"
            expected = f"the capture's shape, {size[0]}x{size[1]}"
            raise UserError("video", found, expected, "cut or pad it to that shape")
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def open_video(path: Path, fps: float | None, manifest: Manifest, counts: Collection[int]) -> ShownVideo:
    """
    Args:
        fps: pictures a second, where the file does not tell.
        counts: how many pictures go one by one with frames of the capture, whatever the file's rate is.

    Raises:
        UserError: there is no such file, it cannot be read, or it has no pictures.
    """
    if path.is_dir():
        found = (file for file in path.iterdir() if file.suffix.lower() in PICTURES and file.name[0] != ".")
        files, film = tuple(sorted(found, key=lambda file: natural(file.name))), None
        if not files:
            raise UserError("video", f"{path}: a folder without pictures", EXPECTED, "give another")
        rate, total = fps or manifest.fps, len(files)
    else:
        files, film = (), decode.probe(path, fps)
        rate, total = film.rate, len(film.film.times)
    told = []
    one_by_one = (fps is None and total in counts) or abs(rate / manifest.fps - 1) < SAME_RATE
    if abs(rate / manifest.fps - 1) >= SAME_RATE:
        how = "taken one by one" if one_by_one else "resampled by time"
        told.append(f"{rate:.5g} pictures a second, {how} for {manifest.fps:.5g}")
    count = total if one_by_one else round(total / rate * manifest.fps)
    shown = ShownVideo(path, manifest, rate, rate if one_by_one else manifest.fps, count, files, film, ())
    size = shown.size()
    if size != (manifest.width, manifest.height):
        told.append(f"pictures of {size[0]}x{size[1]}, scaled to {manifest.width}x{manifest.height}")
    return ShownVideo(path, manifest, rate, shown.clock, count, files, film, tuple(told))
