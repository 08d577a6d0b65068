"""What a media file holds: which of its picture tracks is the film, and when each picture is shown.

Nothing here trusts one container's habit. Covers, thumbnails and single pictures beside a film are no film. Stamps that
leap go on where they were, as in ffmpeg's player; where they are absent, or do not rise with the pictures as they are
decoded (AVI with B-frames), the pictures are counted instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.format import Flags
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.errors import UserError

BACK, REORDERED = 1.0, 16  # seconds, or pictures if longer, by which a stamp may lie before the last; more begins anew
LEAP, PATIENCE = 10.0, 3600.0  # seconds by which it may lie after, in broadcast formats and in others (ffplay's limits)
LOOKED = 32  # pictures decoded to see whether their stamps rise
GUESSED = ("avi",)  # formats that have no stamps of showing: those of libav are guesses, some pictures late
STEADY, NEAR = (
    0.9,
    0.5,
)  # share of the intervals that lie so near to the typical one: the rest does not count for the rate
HOLE = 4.0  # typical intervals: longer ones are holes, which do not count for the rate
FEW = 0.25  # share of the longest track's pictures below which a track is a thumbnail of it
BESIDE = ("attached_pic", "timed_thumbnails", "still_image", "dependent")  # pictures that go with something else
DAMAGED = 0.1  # share of packets that may fail before a file counts as damaged


@dataclass(frozen=True)
class Film:
    """The picture track that is the film, and its clock."""

    track: int  # among all tracks of the file
    clock: float  # the file's own time at the first picture, seconds
    times: Float[ndarray, " n"]  # when each picture is shown, from the first on, seconds
    rate: float  # pictures a second where there is no hole
    leap: float  # seconds by which stamps are believed to go on
    counted: bool  # stamps do not tell: the k-th picture decoded is shown at the k-th of `times`
    seekable: bool
    missing: float  # seconds at the end that the container tells of and does not hold

    @property
    def seconds(self) -> float:
        """From the first picture's start to the last one's end."""
        return float(self.times[-1]) + 1 / self.rate


class Steady:
    """Stamps to times that go on, by `step` seconds, where the stamps leap back or too far ahead."""

    def __init__(self, leap: float, step: float) -> None:
        self.leap, self.step, self.back = leap, step, _back(step)
        self.shift = 0.0
        self._before: float | None = None

    def __call__(self, stamp: float) -> float:
        if self._before is not None and not -self.back <= stamp - self._before <= self.leap:
            self.shift += self._before + self.step - stamp
        self._before = stamp
        return stamp + self.shift


def _back(step: float) -> float:
    return max(BACK, REORDERED * step)


def check_file(file: Path, field: str, expected: str) -> None:
    """
    Raises:
        UserError: no such file, a folder, or nothing in it; `expected` is what should be in it.
    """
    if file.is_dir():
        raise UserError(field, f"{file}: a folder", expected, "give the path of a file")
    if not file.is_file():
        raise UserError(field, f"{file}: no such file", expected, "give the path of one")
    if not file.stat().st_size:
        raise UserError(field, f"{file}: an empty file", expected, "copy it again")


@contextmanager
def opened(file: Path, field: str, expected: str) -> Iterator[Any]:
    """The container, for reading.

    Args:
        field: what the user named it by.
        expected: what should be in it, for the error.

    Raises:
        UserError: as `check_file`, or libav cannot go on reading.
    """
    check_file(file, field, expected)
    try:
        with av.open(f"file:{file}") as container:  # whatever the name looks like, it is no address
            yield container
    except (av.error.FFmpegError, EOFError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        action = "copy it again, re-encode it, or give another file"
        raise UserError(
            field, f"{file}: unreadable (damaged, or not readable by ffmpeg: {reason})", expected, action
        ) from error


def find_film(file: Path, field: str, expected: str, rate: float | None = None) -> Film | None:
    """Read all stamps, and decode the first pictures; None where there is no film, a cover or data at most.

    Args:
        rate: pictures a second of a stream that has no stamps; None: what it tells of itself.

    Raises:
        UserError: as `opened`; or no picture of the film can be decoded.
    """
    track = _chosen(file, field, expected)
    if track is None:
        return None
    with opened(file, field, expected) as container:
        first = [frame.time for frame in islice(decoded(container, container.streams[track.index]), LOOKED)]
    if not first:
        raise UserError(field, f"{file}: not one picture that can be decoded", expected, "give another file")
    shown = np.unique(track.presented)
    known = [time for time in first if time is not None]
    # Two pictures may share a stamp; one a little before the picture it follows says that stamps are not of showing.
    back = any(a - _back(1 / track.rate) < b < a for a, b in pairwise(known))
    counted = not len(track.presented) or back or first[0] is None or 2 * len(known) < len(first)
    if counted and len(track.order) > 1:
        shown = np.sort(track.order)
    elif counted:
        shown = np.arange(track.count) / (rate or track.rate)
    clock = float(shown[0]) if counted else known[0]
    times = shown[shown >= clock - 1e-6] - clock
    seekable = not (counted or track.leaps)
    typical = _rate(times, rate or track.rate)
    return Film(track.index, clock, times, typical, track.leap, counted, seekable, track.missing)


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames of a track, as a player would show them: what cannot be decoded is left out.

    Raises:
        av.error.FFmpegError: more than `DAMAGED` of the packets cannot be decoded.
    """
    packets, failed = 0, 0
    for packet in container.demux(stream):
        packets += 1
        try:
            yield from packet.decode()
        except av.error.FFmpegError as error:
            failed, last = failed + 1, error
    if failed > DAMAGED * packets:
        raise last


class _Packet(NamedTuple):
    """Stamps of a packet, in the track's unit."""

    shown: int | None
    decoding: int | None
    duration: int
    unseen: bool  # an edit list leaves it out


@dataclass(frozen=True)
class _Track:
    """What the packets of a track tell."""

    index: int
    presented: Float[ndarray, " n"]  # stamps of showing, steady, of the packets that have one
    order: Float[ndarray, " m"]  # stamps of decoding, likewise
    count: int  # packets
    rate: float  # what the container tells, or guesses
    leap: float
    leaps: bool  # stamps were moved
    missing: float  # as of `Film`


def _chosen(file: Path, field: str, expected: str) -> _Track | None:
    """The film among the picture tracks: as many pictures as any, then the default one, then the largest."""
    with opened(file, field, expected) as container:
        streams = [stream for stream in container.streams.video if _may_be_film(stream)]
        if not streams:
            return None
        packets: dict[int, list[_Packet]] = {stream.index: [] for stream in streams}
        for packet in container.demux(*streams):
            if packet.size and not packet.is_corrupt:
                kept = _Packet(packet.pts, packet.dts, packet.duration or 0, packet.is_discard)
                packets[packet.stream.index].append(kept)
        enough = FEW * max(map(len, packets.values()))
        stream = max(streams, key=lambda s: (len(packets[s.index]) >= enough, *_standing(s)))
        leap = LEAP if container.format.flags & Flags.ts_discont.value else PATIENCE
        found = packets[stream.index]
        if container.format.name in GUESSED:
            found = [packet._replace(shown=None) for packet in found]
        return _steadied(stream, found, leap)


def _may_be_film(stream: Any) -> bool:
    beside = (getattr(type(stream.disposition), name) for name in BESIDE)
    return stream.codec_context is not None and not any(stream.disposition & kind for kind in beside)


def _standing(stream: Any) -> tuple[bool, int]:
    default = bool(stream.disposition & type(stream.disposition).default)
    return default, (stream.width or 0) * (stream.height or 0)


def _steadied(stream: Any, packets: list[_Packet], leap: float) -> _Track:
    base, rate = float(stream.time_base or 1), float(stream.guessed_rate or stream.average_rate or 25)
    steady, presented, order = Steady(leap, 1 / rate), [], []
    first, end = math.inf, -math.inf  # by stamps of showing: at a slow rate B-frames are decoded seconds before
    for packet in packets:
        mark = packet.shown if packet.decoding is None else packet.decoding
        if mark is None:
            continue
        time = steady(mark * base)
        shown = (mark if packet.shown is None else packet.shown) * base
        end = max(end, shown + (packet.duration * base or 1 / rate))
        if not packet.unseen:
            first = min(first, shown)
            order.append(time)
        if packet.shown is not None and not packet.unseen:
            presented.append(packet.shown * base + steady.shift)
    missing = (stream.duration or 0) * base - (end - first) if order else 0.0
    count = sum(not packet.unseen for packet in packets)
    return _Track(stream.index, np.array(presented), np.array(order), count, rate, leap, steady.shift != 0, missing)


def _rate(times: Float[ndarray, " n"], otherwise: float) -> float:
    intervals = np.diff(times)
    intervals = intervals[intervals > 0]
    if not len(intervals):
        return otherwise
    typical = np.median(intervals)
    near = np.abs(intervals / typical - 1) <= NEAR
    counted = near if near.mean() >= STEADY else intervals <= HOLE * typical
    return float(1 / intervals[counted].mean())
