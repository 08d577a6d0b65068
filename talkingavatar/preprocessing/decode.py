"""Any video ffmpeg reads: upright RGB pictures at a constant rate, and 16 kHz mono sound on the same clock.

The clock starts with the first picture (`audio.film`). Picture k of the constant rate is the source's picture nearest
to k / fps seconds, so a variable rate loses no time and gains no drift: each is right within half a source interval.
Sound is placed by its own time stamps (`audio.reading`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar.audio.features import RATE
from talkingavatar.audio.film import Film, Steady, decoded, find_film, opened
from talkingavatar.audio.reading import read_sound
from talkingavatar.errors import UserError
from talkingavatar.preprocessing import colour
from talkingavatar.preprocessing.fields import order_of, whole
from talkingavatar.preprocessing.orientation import Orientation, orientation_of

# Rates a capture may have: of broadcast and phones up to 30. Faster video is taken at a whole fraction of its own.
RATES = (10.0, 12.5, 15.0, 20.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0)
SEEK = 2.0  # seconds decoded in advance of a later start
CUT_OFF = 0.1  # share of a film that may be missing from its file
ALIKE = 0.02  # by which pictures' shapes may differ and count as one shape
EXPECTED = "a video"


@dataclass(frozen=True)
class Source:
    """What a video file holds."""

    file: Path
    film: Film
    stored: tuple[int, int]  # width and height as coded, pixels
    orientation: Orientation
    aspect: float  # width of an upright pixel by its height
    pixel: float  # the same of a stored one as the first pictures' coding has it, which a container may overrule
    peak: float  # the brightest light, of diffuse white
    fields: str  # tff or bff of pictures that are woven of two fields and do not say so, else nothing
    codec: str
    has_sound: bool

    @property
    def width(self) -> int:
        """Upright, pixels."""
        return self.stored[self.orientation.transpose]

    @property
    def height(self) -> int:
        """Upright, pixels."""
        return self.stored[not self.orientation.transpose]

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.film.rate

    @property
    def seconds(self) -> float:
        """From the first picture's start to the last one's end."""
        return self.film.seconds

    def upright(self, frame: av.VideoFrame, pixel: float) -> UInt8[ndarray, "h w 3"]:
        """RGB as a display shows it; `pixel` is width by height of the frame's pixels as coded.

        Raises:
            UserError: it has another shape than the first picture.
        """
        width, height = self.stored
        if abs(frame.width * pixel / frame.height / (width * self.pixel / height) - 1) > ALIKE:
            found = f"{self.file}: pictures of {width}x{height} and of {frame.width}x{frame.height} pixels"
            if abs(pixel / self.pixel - 1) > ALIKE:
                found += f", {self.pixel:.3g} and {pixel:.3g} times as wide as high"
            action = "take the part that is shaped as its first picture: end=...; or cut the file in two"
            raise UserError("video", found, "one shape", action)
        return self.orientation.apply(colour.rgb(frame, width, height, self.peak))


def probe(file: Path, rate: float | None = None) -> Source:
    """Read all time stamps, and decode the first pictures (of high dynamic range, all those that stand alone).

    Args:
        rate: pictures a second of a stream that does not tell.

    Raises:
        UserError: no such file, not a film, coded in colours that cannot be read, or cut off.
    """
    film = find_film(file, "video", EXPECTED, rate)
    if film is None:
        raise UserError("video", f"{file}: no picture track that is a film", EXPECTED, "give another file")
    if len(film.times) < 2:
        raise UserError("video", f"{file}: a still picture", EXPECTED, "give a film of one person who talks")
    if film.missing > CUT_OFF * (film.seconds + film.missing) + 0.5:
        found = f"{file}: cut off after {film.seconds:.1f} s of {film.seconds + film.missing:.1f} s"
        raise UserError("video", found, "a whole file", "copy it again")
    with opened(file, "video", EXPECTED) as container:
        stream = container.streams[film.track]
        frames = decoded(container, stream)
        first = next(frames)
        codec, sound = stream.codec_context.name, any(s.codec_context is not None for s in container.streams.audio)
        aspect, pixel = float(stream.sample_aspect_ratio or 1), _pixel(stream)
        fields = "" if first.interlaced_frame else order_of(chain([first], frames))
    matrix = colour.matrix_of(first)
    if matrix in colour.UNREADABLE:
        found = f"{file}: colours coded as {colour.UNREADABLE[matrix]}"
        raise UserError("video", found, "colours that ffmpeg's scaler knows", "export it as standard (SDR) video")
    turned = orientation_of(first)
    aspect = 1 / aspect if turned.transpose else aspect
    peak = _peak(file, film) if colour.is_dynamic(first) else 1.0
    return Source(file, film, (first.width, first.height), turned, aspect, pixel, peak, fields, codec, sound)


def sane_rate(rate: float) -> float:
    """The nearest of `RATES`; what is faster is divided by a whole number first."""
    while rate > 1.1 * max(RATES):
        rate = next(rate / n for n in range(2, 100) if rate / n <= 1.1 * max(RATES))
    return min(RATES, key=lambda r: abs(np.log(r / rate)))


def taken(source: Source, fps: float, start: float, frames: int) -> list[int]:
    """Which of the source's pictures, counted from its first, each of the frames at `fps` from `start` on shows."""
    times = source.film.times
    between = (times[1:] + times[:-1]) / 2
    return np.searchsorted(between, start + np.arange(frames) / fps, side="right").tolist()


def pictures(
    source: Source, fps: float, start: float = 0.0, end: float | None = None, skip: int = 0
) -> Iterator[UInt8[ndarray, "h w 3"]]:
    """Upright pictures at `fps` from `start` to `end` seconds, without the first `skip` of them.

    Raises:
        UserError: the file is damaged.
    """
    stop = source.seconds if end is None else min(end, source.seconds)
    total, number = round((stop - start) * fps), skip
    before: tuple[float, av.VideoFrame, float] | None = None
    for time, frame, pixel in _shown(source, start + skip / fps):
        picture = None
        while before is not None and number < total and start + number / fps < (before[0] + time) / 2:
            picture = source.upright(*before[1:]) if picture is None else picture
            yield picture
            number += 1
        if number >= total:
            return
        before = time, frame, pixel
    if before is not None:
        picture = source.upright(*before[1:])
        for _ in range(number, total):
            yield picture


def sound(source: Source, start: float, seconds: float) -> Float[ndarray, " N"]:
    """The film's sound as 16 kHz mono from `start`, `seconds` long; silent where there is none.

    Raises:
        UserError: the file is damaged.
    """
    samples = read_sound(source.file, RATE, "video")
    wanted = np.zeros(round(seconds * RATE), np.float32)
    part = samples[round(start * RATE) :][: len(wanted)]
    wanted[: len(part)] = part
    return wanted


def _shown(source: Source, start: float) -> Iterator[tuple[float, av.VideoFrame, float]]:
    """Pictures with their time on the film's clock and their pixels' shape, from the last before `start` or earlier."""
    film = source.film
    with opened(source.file, "video", EXPECTED) as container:
        stream = container.streams[film.track]
        stream.thread_type = "AUTO"
        seeking = film.seekable and start > SEEK
        if not seeking or _sought(container, film.clock + start - SEEK):
            frames = whole(decoded(container, stream), source.fields)
            first = next(frames, None)
            if first is not None and not (seeking and (first.time is None or first.time - film.clock > start)):
                for time, frame in _timed(film, chain([first], frames)):
                    yield time, frame, _pixel(stream)
                return
    if seeking:  # the container has no index, or one that is not to be trusted
        yield from _shown(source, 0.0)


def _pixel(stream: Any) -> float:
    """Width by height of a pixel as coded where the decoder is: at the picture that comes out, or a few after it."""
    return float(stream.codec_context.sample_aspect_ratio or 1)


def _sought(container: Any, seconds: float) -> bool:
    try:
        container.seek(int(seconds * 1e6))
    except av.error.FFmpegError:
        return False
    return True


def _timed(film: Film, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[float, av.VideoFrame]]:
    steady, last = Steady(film.leap, 1 / film.rate), -1 / film.rate
    for k, frame in enumerate(frames):
        if film.counted and k < len(film.times):
            last = float(film.times[k])
        elif film.counted or frame.time is None:
            last += 1 / film.rate
        else:
            last = max(last, steady(frame.time) - film.clock)
        yield last, frame


def _peak(file: Path, film: Film) -> float:
    with opened(file, "video", EXPECTED) as container:
        stream = container.streams[film.track]
        stream.codec_context.skip_frame = "NONKEY"
        return colour.brightest(decoded(container, stream))
