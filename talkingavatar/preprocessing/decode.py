"""Any video ffmpeg reads: upright RGB pictures at a constant rate, and 16 kHz mono sound on the same clock.

The clock starts at the time stamp of the first picture. Picture k of the constant rate is the source's picture
nearest to k / fps seconds, so a variable rate loses no time and gains no drift: each is right within half a
source interval. Sound is placed by its own time stamps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from numpy import ndarray

from talkingavatar.audio.features import RATE, resample
from talkingavatar.errors import UserError

# Rates a capture may have: of broadcast and phones up to 30. Faster video is taken at a whole fraction of its own.
RATES = (10.0, 12.5, 15.0, 20.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0)
GAP = 0.02  # seconds a sound packet may be off before silence is put in (or sound is overwritten)
SEEK = 2.0  # seconds decoded in advance of a later start
BT601, BT709, UNKNOWN = 5, 1, 2  # ISO/IEC 23091-2 matrix coefficients, as libav numbers them (601 stands for 5 and 6)


@dataclass(frozen=True)
class Source:
    """What a video file holds."""

    file: Path
    width: int  # upright, pixels
    height: int
    aspect: float  # width of an upright pixel by its height
    rate: float  # average pictures a second
    seconds: float  # from the first picture's start to the last one's end
    clock: float  # time stamp of the first picture, seconds
    codec: str
    has_sound: bool


def probe(file: Path) -> Source:
    """Read the headers and all time stamps, and decode one picture.

    Raises:
        UserError: no such file, not a video, without pictures, or cut off.
    """
    if not file.is_file():
        raise UserError("video", f"{file}: no such file", "a video file", "give video=<file>")
    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise UserError("video", f"{file}: no picture track", "a video", "give another file")
            stream = container.streams.video[0]
            first = next(container.decode(stream))
            container.seek(0)
            stamps = [p.pts for p in container.demux(stream) if p.pts is not None and not p.is_corrupt]
            declared = stream.duration
            clock = float(first.time or 0.0)
            base = float(stream.time_base or 1)
            times = np.unique(np.array(stamps, float) * base) - clock
            rate = _average_rate(times[times >= 0], float(stream.average_rate or 25))
            seconds = float(times[-1]) + 1 / rate if len(times) else 1 / rate
            aspect = float(stream.sample_aspect_ratio or 1) or 1.0
            codec, sound = stream.codec_context.name, bool(container.streams.audio)
    except StopIteration as error:
        raise UserError("video", f"{file}: not one picture", "a video", "give another file") from error
    except (av.error.FFmpegError, EOFError) as error:
        raise _damaged(file, error) from error
    if declared and len(stamps) and seconds < 0.9 * declared * base - 0.5:
        raise UserError("video", f"{file}: cut off after {seconds:.1f} s of {declared * base:.1f} s", "a whole file",
                        "copy it again")  # fmt: skip
    turned = _orientation(first)
    width, height = (first.height, first.width) if turned.transpose else (first.width, first.height)
    aspect = 1 / aspect if turned.transpose else aspect
    return Source(file, width, height, aspect, rate, seconds, clock, codec, sound)


def sane_rate(rate: float) -> float:
    """The nearest of `RATES`; what is faster is divided by a whole number first."""
    while rate > 1.1 * max(RATES):
        rate = next(rate / n for n in range(2, 100) if rate / n <= 1.1 * max(RATES))
    return min(RATES, key=lambda r: abs(np.log(r / rate)))


def pictures(
    source: Source, fps: float, start: float = 0.0, end: float | None = None, skip: int = 0
) -> Iterator[UInt8[ndarray, "h w 3"]]:
    """Upright pictures at `fps` from `start` to `end` seconds, without the first `skip` of them.

    Raises:
        UserError: the file is damaged.
    """
    stop = source.seconds if end is None else min(end, source.seconds)
    total, number = round((stop - start) * fps), skip
    before: tuple[float, av.VideoFrame] | None = None
    for time, frame in _decoded(source, start + skip / fps):
        picture = None
        while before is not None and number < total and start + number / fps < (before[0] + time) / 2:
            picture = upright(before[1]) if picture is None else picture
            yield picture
            number += 1
        if number >= total:
            return
        before = time, frame
    if before is not None:
        picture = upright(before[1])
        for _ in range(number, total):
            yield picture


def sound(source: Source, start: float, seconds: float) -> Float[ndarray, " N"]:
    """The first sound track as 16 kHz mono from `start`, `seconds` long; silent where the file has none.

    Raises:
        UserError: the file is damaged.
    """
    samples: ndarray = np.zeros(0, np.float32)
    cursor, rate = 0, RATE
    try:
        with av.open(str(source.file)) as container:
            for frame in container.decode(audio=0):
                block = _mono(frame)
                if not cursor:
                    rate = frame.sample_rate
                    samples = np.zeros(round(source.seconds * rate) + 1, np.float32)
                at = cursor if frame.time is None else round((frame.time - source.clock) * rate)
                if not cursor or abs(at - cursor) > GAP * rate:
                    cursor = at
                here = slice(max(cursor, 0), max(cursor + len(block), 0))
                room = samples[here]
                room[:] = block[max(-cursor, 0) :][: len(room)]
                cursor += len(block)
    except (av.error.FFmpegError, EOFError) as error:
        raise _damaged(source.file, error) from error
    wanted = np.zeros(round(seconds * RATE), np.float32)
    part = resample(samples[round(start * rate) : round((start + seconds) * rate)], rate)[: len(wanted)]
    wanted[: len(part)] = part
    return wanted.clip(-1, 1)


def _mono(frame: av.AudioFrame) -> Float[ndarray, " n"]:
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(frame.samples, -1).T
    if values.dtype == np.uint8:
        values = (values.astype(np.float32) - 128) / 128
    elif np.issubdtype(values.dtype, np.integer):
        values = values.astype(np.float32) / float(1 << (8 * values.dtype.itemsize - 1))
    return values.mean(0, dtype=np.float32)


@dataclass(frozen=True)
class Orientation:
    """How a stored picture becomes upright: transposed first, then turned over."""

    transpose: bool
    columns: bool
    rows: bool


def upright(frame: av.VideoFrame) -> UInt8[ndarray, "h w 3"]:
    """RGB, with the display matrix applied."""
    matrix = int(frame.colorspace)
    if matrix == UNKNOWN:  # as players do: high definition has BT.709's
        matrix = BT709 if min(frame.width, frame.height) >= 720 else BT601
    known = matrix in (1, 4, 5, 7, 9)
    picture = frame.to_ndarray(format="rgb24", src_colorspace=matrix if known else BT601)
    turned = _orientation(frame)
    if turned.transpose:
        picture = picture.transpose(1, 0, 2)
    picture = picture[:: -1 if turned.rows else 1, :: -1 if turned.columns else 1]
    return np.ascontiguousarray(picture)


def _orientation(frame: av.VideoFrame) -> Orientation:
    """From libav's display matrix, rows (a b u) (c d v) (x y w): p' = a p + c q, q' = b p + d q, y down."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation(False, False, False)
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


def _decoded(source: Source, start: float) -> Iterator[tuple[float, av.VideoFrame]]:
    """Pictures with their time on the source's clock, in order, from the last one before `start` or earlier."""
    seeking = start > SEEK
    try:
        with av.open(str(source.file)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if seeking:
                container.seek(int((source.clock + start - SEEK) * 1e6))
            last = -1 / source.rate
            for frame in container.decode(stream):
                if seeking and (frame.time is None or frame.time - source.clock > start):
                    break  # the container's index is not to be trusted
                seeking = False
                last = last + 1 / source.rate if frame.time is None else frame.time - source.clock
                yield last, frame
    except (av.error.FFmpegError, EOFError) as error:
        raise _damaged(source.file, error) from error
    if seeking:
        yield from _decoded(source, 0.0)


def _average_rate(times: Shaped[ndarray, " n"], otherwise: float) -> float:
    return (len(times) - 1) / float(times[-1] - times[0]) if len(times) > 1 else otherwise


def _damaged(file: Path, error: Exception) -> UserError:
    reason = str(getattr(error, "strerror", None) or error)
    return UserError("video", f"{file}: unreadable ({reason})", "a whole video file", "copy it again or re-encode it")
