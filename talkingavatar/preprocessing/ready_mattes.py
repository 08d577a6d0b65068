"""Mattes that somebody made already: a folder of pictures or a video, one per frame of the clip or of its video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.data.matte_values import SURVEYED, read_matte, survey, survey_files
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.numbering import SLACK, Clock, Placed, Things, clocks_of, natural, numbers_in, ranges

PICTURES = {
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".tga", ".jp2", ".gif", ".pgm", ".ppm", ".pnm",
}  # fmt: skip
TASK = "make one matte per frame of the same video, at its size or the capture's"
LOOKED_INTO = 256  # pictures of a video, for the same
TRANSPARENT = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
SAME_ASPECT = 0.01  # by which shapes may differ and count as one


@dataclass(frozen=True)
class Crop:
    """Where in the video's pictures the clip lies: their size, and x0, y0, x1, y1 of the clip, pixels."""

    whole: tuple[int, int]
    box: tuple[int, int, int, int]


class ReadyMattes:
    """Coverage of the subject by frame number, read in order.

    A picture with an alpha channel that says something gives that channel, a grey one its value, a coloured one its
    brightest channel, one in the colours of parts whatever is not black; 0 and 1 stand for 0 and 255. A video is read
    as pictures are, with its alpha channel.

    Args:
        path: a folder of pictures, in the order of the numbers (or names) they carry, or a video.
        frames: of the clip.
        size: width and height of the capture.
        source_size: of the clip at its source's resolution: mattes of this shape are scaled.
        threshold: from which a value is full coverage, 0 to 255; below it none. None keeps the values.
        clocks: by which they may be counted; None: by the clip's frames.
        crop: mattes of the whole picture are cut to it.

    Raises:
        UserError: nothing there, another number than of any clock, or a picture of another shape (while reading).
    """

    def __init__(
        self,
        path: Path,
        frames: int,
        size: tuple[int, int],
        source_size: tuple[int, int],
        threshold: int | None = None,
        clocks: Sequence[Clock] | None = None,
        crop: Crop | None = None,
    ) -> None:
        self.path, self.size, self.source_size, self.threshold, self.crop = path, size, source_size, threshold, crop
        clocks = clocks or clocks_of(range(frames), frames, 1.0, 1.0)
        self.files: list[Path] | None = None
        if path.is_dir():
            self.files = sorted((f for f in path.iterdir() if f.suffix.lower() in PICTURES and f.name[0] != "."),
                                key=lambda f: natural(f.name))  # fmt: skip
            self.placed = self._placed(self.files, clocks)
            if gone := np.flatnonzero(self.placed.rows < 0).tolist():
                raise UserError("mattes", f"{path}: none of frames {ranges(gone)}", f"{frames}, one per frame", TASK)
            self.values = survey_files([self.files[row] for row in self.placed.rows], "mattes", TASK)
        elif path.is_file():
            self.placed = self._placed_pictures(clocks)
            self.values = survey(self._early_pictures(), "mattes", TASK)
        else:
            raise UserError("mattes", f"{path}: no such folder or video", "mattes", "correct the path")

    def __iter__(self) -> Iterator[UInt8[ndarray, "H W"]]:
        return (matte for _, matte in self.read(range(len(self.placed.rows))))

    def read(self, frames: Iterable[int]) -> Iterator[tuple[str, UInt8[ndarray, "H W"]]]:
        """Where the mattes of these frames (ascending) lie, and what they are.

        Raises:
            UserError: one is damaged, or of another shape.
        """
        rows = [int(self.placed.rows[frame]) for frame in frames]
        for place, matte in self._of_files(rows) if self.files is not None else self._of_video(rows):
            yield place, self._fitted(place, matte)

    def inverted(self) -> ReadyMattes:
        """The same where black means the person: what these pictures say is turned round."""
        self.values = replace(self.values, inverted=True)
        return self

    @property
    def believed(self) -> dict[str, Any]:
        """How they are read, for the capture's provenance."""
        return {"source": str(self.path), "meaning": self.values.told(), **self.placed.believed}

    def sample(self) -> list[int]:
        """A few frames, evenly over the clip."""
        return np.unique(np.linspace(0, len(self.placed.rows) - 1, SURVEYED).round().astype(int)).tolist()

    def _placed(self, files: list[Path], clocks: Sequence[Clock]) -> Placed:
        things = Things("mattes", f"{self.path}: {len(files)} pictures", "{}, one per frame", TASK)
        numbers = numbers_in([file.stem for file in files])
        if numbers is None:
            return things.in_order(len(files), clocks)
        return things.place(numbers, clocks)

    def _placed_pictures(self, clocks: Sequence[Clock]) -> Placed:
        """Of a video; programs disagree about its last pictures: too many are left out, for too few the last stands."""
        with _readable(self.path), av.open(str(self.path)) as container:
            count = sum(packet.size > 0 for packet in container.demux(video=0))
        clock = min(clocks, key=lambda clock: abs(clock.total - count))
        slack = SLACK if clock.total > 10 * SLACK else 0
        if count > clock.total + slack:
            raise UserError("mattes", f"{self.path}: more than {clock.total} frames, {count}", f"{clock.total}", TASK)
        if count < clock.total - slack or not count:
            raise Things("mattes", f"{self.path}: {count} frames", "{}, one per frame", TASK).unfit(clocks)
        told = f"{self.path}: {count} frames for {clock.total} {clock.name}; the last is taken again"
        believed = {"order": "of the video", **clock.told(), "count": count, "first_number": 0}
        return Placed(np.minimum(clock.numbers, count - 1), believed, (told,) if count < clock.total else ())

    def _of_files(self, rows: list[int]) -> Iterator[tuple[str, UInt8[ndarray, "h w"]]]:
        assert self.files is not None
        for row in rows:
            yield str(self.files[row]), read_matte(self.files[row], self.values, TASK)

    def _of_video(self, rows: list[int]) -> Iterator[tuple[str, UInt8[ndarray, "h w"]]]:
        wanted = iter(rows)
        row = next(wanted, None)
        with _readable(self.path):
            for index, frame in enumerate(decoded(self.path)):
                if row != index:
                    continue
                matte = self.values.coverage(picture_of(frame))
                while row == index:  # a slower film shows one picture twice
                    yield f"{self.path} frame {index}", matte
                    row = next(wanted, None)
                if row is None:
                    return
        if row is not None:
            raise UserError("mattes", f"{self.path}: no picture {row}", "a whole video", TASK)

    def _early_pictures(self) -> Iterator[tuple[str, Image.Image]]:
        """Of a video, ever farther apart: to learn how it is meant, without decoding all of it."""
        last = int(self.placed.rows.max())
        wanted = {0} | {1 << power for power in range(SURVEYED) if 1 << power <= min(last, LOOKED_INTO)}
        with _readable(self.path):
            for index, frame in enumerate(decoded(self.path)):
                if index in wanted:
                    yield f"{self.path} frame {index}", picture_of(frame)
                if index == max(wanted):
                    return

    def _fitted(self, place: str, matte: UInt8[ndarray, "h w"]) -> UInt8[ndarray, "H W"]:
        if self.crop is not None and matte.shape[::-1] == self.crop.whole != self.source_size:
            x0, y0, x1, y1 = self.crop.box
            matte = matte[y0:y1, x0:x1]
        height, width = matte.shape
        shapes = [self.size, self.source_size]
        if not any(abs(width / height / (w / h) - 1) <= SAME_ASPECT for w, h in shapes):
            raise UserError("mattes", f"{place}: {width}x{height} pixels",
                            "{}x{} or {}x{}".format(*self.size, *self.source_size), TASK)  # fmt: skip
        if (width, height) != self.size:
            smooth = Image.Resampling.BOX if width >= self.size[0] else Image.Resampling.BILINEAR
            matte = np.array(Image.fromarray(matte).resize(self.size, smooth))
        if self.threshold is None:
            return matte
        return np.where(matte >= self.threshold, 255, 0).astype(np.uint8)


def decoded(path: Path) -> Iterator[av.VideoFrame]:
    """The pictures of a film, with their transparency: of VP8 and VP9 only the codecs' own library tells it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        library = TRANSPARENT.get(stream.codec_context.name)
        if library is None or stream.metadata.get("alpha_mode") != "1":
            yield from container.decode(stream)
            return
        decoder = av.CodecContext.create(library, "r")
        assert isinstance(decoder, av.VideoCodecContext)
        for packet in container.demux(stream):
            yield from decoder.decode(packet)


def picture_of(frame: av.VideoFrame) -> Image.Image:
    """In colour, and with its alpha channel where it has one."""
    if any(component.is_alpha for component in frame.format.components):
        return Image.fromarray(frame.to_ndarray(format="rgba"))
    return frame.to_image()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, IndexError, ValueError) as error:
        reason = "no pictures in it" if isinstance(error, IndexError) else getattr(error, "strerror", None) or error
        raise UserError("mattes", f"{path}: {reason}", "a video that can be read", TASK) from error
