"""Mattes that somebody made already: a folder of pictures or a video, one per frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.errors import UserError

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
TASK = "make one matte per frame of the same video, at its size or the capture's"


class ReadyMattes:
    """Coverage of the subject by frame number, read in order.

    A picture with an alpha channel gives that channel, a grey one its value, a coloured one its brightest channel.

    Args:
        path: a folder of pictures, in the order of the numbers (or names) they carry, or a video.
        frames: of the clip.
        size: width and height of the capture.
        source_size: of the clip at its source's resolution: mattes of this size are scaled.
        threshold: from which a value is full coverage, 0 to 255; below it none. None keeps the values.

    Raises:
        UserError: nothing there, another number than `frames`, or a picture of another size (while reading).
    """

    def __init__(
        self,
        path: Path,
        frames: int,
        size: tuple[int, int],
        source_size: tuple[int, int],
        threshold: int | None = None,
    ) -> None:
        self.path, self.frames, self.size, self.source_size = path, frames, size, source_size
        self.threshold = threshold
        self.files: list[Path] | None = None
        if path.is_dir():
            self.files = sorted((f for f in path.iterdir() if f.suffix.lower() in PICTURES), key=_order)
            if len(self.files) != frames:
                raise UserError("mattes", f"{path}: {len(self.files)} pictures", f"{frames}, one per frame", TASK)
        elif not path.is_file():
            raise UserError("mattes", f"{path}: no such folder or video", "mattes", "correct the path")

    def __iter__(self) -> Iterator[UInt8[ndarray, "H W"]]:
        count = 0
        for place, picture in self._pictures():
            if count == self.frames:
                raise UserError("mattes", f"{place}: more than {count} frames", f"{self.frames}", TASK)
            yield self._fitted(place, picture)
            count += 1
        if count != self.frames:
            raise UserError("mattes", f"{self.path}: {count} frames", f"{self.frames}, one per frame", TASK)

    def _pictures(self) -> Iterator[tuple[str, UInt8[ndarray, "h w"]]]:
        if self.files is None:
            try:
                with av.open(str(self.path)) as container:
                    for index, frame in enumerate(container.decode(video=0)):
                        yield f"{self.path} frame {index}", _coverage(frame.to_image())
            except (av.FFmpegError, IndexError) as error:
                raise UserError("mattes", f"{self.path}: {error}", "a video that can be read", TASK) from error
            return
        for file in self.files:
            try:
                with Image.open(file) as image:
                    yield str(file), _coverage(image)
            except (OSError, SyntaxError) as error:
                raise UserError("mattes", f"{file}: {error}", "a whole picture", TASK) from error

    def _fitted(self, place: str, matte: UInt8[ndarray, "h w"]) -> UInt8[ndarray, "H W"]:
        found = (matte.shape[1], matte.shape[0])
        if found not in (self.size, self.source_size):
            raise UserError("mattes", f"{place}: {found[0]}x{found[1]} pixels",
                            "{}x{} or {}x{}".format(*self.size, *self.source_size), TASK)  # fmt: skip
        if found != self.size:
            matte = np.array(Image.fromarray(matte).resize(self.size, Image.Resampling.BOX))
        if self.threshold is None:
            return matte
        return np.where(matte >= self.threshold, 255, 0).astype(np.uint8)


def _coverage(image: Image.Image) -> UInt8[ndarray, "h w"]:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return np.array(image.convert("RGBA"))[..., 3]
    if image.mode in ("L", "1"):
        return np.array(image.convert("L"))
    return np.array(image.convert("RGB")).max(axis=2)


def _order(file: Path) -> tuple[int, str]:
    digits = "".join(c if c.isdigit() else " " for c in file.stem).split()
    return (int(digits[-1]) if digits else -1, file.name)
