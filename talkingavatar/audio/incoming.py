"""Sound that comes through a pipe, block by block: a WAV of no known length, or bare samples."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from io import BufferedReader
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from talkingavatar.errors import UserError

BLOCK = 0.02  # seconds that are read at once, at most
HEARD, PLAYED = 16_000, 48_000  # Hz, of what is listened to and of what goes into a video
TYPES = {(1, 16): "<i2", (1, 32): "<i4", (3, 32): "<f4"}  # by tag and bits
UNKNOWN = (0, 0xFFFFFFFF)  # lengths that are written before there is one
EXTENSIBLE = 0xFFFE  # tag; the real one comes later
OTHERS = (b"ID3", b"fLaC", b"OggS", b"\x1aE\xdf\xa3", b"FORM")  # how files begin that are no bare samples
EXPECTED = "a WAV, or bare samples (16 bits, little-endian, 16 kHz, mono)"
ACTION = "send it through ffmpeg -i ... -f wav -"


class Block(NamedTuple):
    """The same moments of the sound, mono, [-1, 1]."""

    heard: Float32[ndarray, " n"]  # 16 kHz
    played: Float32[ndarray, " m"]  # 48 kHz


class Incoming:
    """Iterate over its blocks; each comes as soon as there is any sound."""

    def __init__(self, source: BufferedReader) -> None:
        """Waits for the header.

        Raises:
            UserError: nothing comes, or something else.
        """
        self.source, self.seconds = source, 0.0  # that have come
        self.kind, self.rate, self.channels, self.left = np.dtype("<i2"), HEARD, 1, None
        self._first = b"" if source.isatty() else source.read(4)
        if len(self._first) < 4:
            raise UserError("audio", "no sound on standard input", EXPECTED, "put a sound into the pipe")
        if self._first == b"RIFF":
            self._first = b""
            self._read_header()
        elif self._first.startswith(OTHERS) or self._first[:2] == b"\xff\xfb":
            raise UserError("audio", "another kind of file on standard input", EXPECTED, ACTION)
        self._ways = [av.AudioResampler("flt", "mono", rate) for rate in (HEARD, PLAYED)]

    def __iter__(self) -> Iterator[Block]:
        width = self.kind.itemsize * self.channels
        kept = self._first
        while come := self.source.read1(self._room(round(BLOCK * self.rate) * width)):
            self.left = None if self.left is None else self.left - len(come)
            kept += come
            whole = len(kept) // width * width
            samples, kept = np.frombuffer(kept[:whole], self.kind), kept[whole:]
            if len(samples):
                yield self._block(samples.reshape(-1, self.channels))
        heard, played = (_joined(way.resample(None)) for way in self._ways)
        yield Block(heard, played)

    def _room(self, most: int) -> int:
        return most if self.left is None else min(most, self.left)

    def _block(self, samples: ndarray) -> Block:
        self.seconds += len(samples) / self.rate
        scale = 1.0 if self.kind.kind == "f" else -1.0 / np.iinfo(self.kind).min
        mono = np.nan_to_num(samples.mean(1, dtype=np.float32) * np.float32(scale)).clip(-1, 1)
        frame = av.AudioFrame.from_ndarray(mono[None], "flt", "mono")
        frame.sample_rate, frame.time_base = self.rate, Fraction(1, self.rate)
        heard, played = (_joined(way.resample(frame)) for way in self._ways)
        return Block(heard, played)

    def _read_header(self) -> None:
        """Up to the samples.

        Raises:
            UserError: it is no WAV, or one of other samples.
        """
        if self._exactly(8)[4:] != b"WAVE":
            raise UserError("audio", "a damaged WAV on standard input", EXPECTED, ACTION)
        kind = b""
        while kind != b"data":
            kind, size = struct.unpack("<4sI", self._exactly(8))
            if kind == b"fmt ":
                self._read_format(self._exactly(size))
            elif kind != b"data":
                self._exactly(size + size % 2)
        self.left = None if size in UNKNOWN else size

    def _read_format(self, content: bytes) -> None:
        tag, self.channels, self.rate, _, _, bits = struct.unpack_from("<HHIIHH", content.ljust(16, b"\0"))
        if tag == EXTENSIBLE and len(content) >= 26:
            (tag,) = struct.unpack_from("<H", content, 24)
        if (tag, bits) not in TYPES or not self.channels or not self.rate:
            found = f"a WAV of {bits} bits, {self.channels} channels, {self.rate} Hz, kind {tag}"
            raise UserError("audio", found, "integers of 16 or 32 bits, or floats of 32", ACTION)
        self.kind = np.dtype(TYPES[tag, bits])

    def _exactly(self, count: int) -> bytes:
        content = self.source.read(count)
        if len(content) < count:
            raise UserError("audio", "a damaged WAV on standard input", EXPECTED, ACTION)
        return content


def _joined(frames: list[av.AudioFrame]) -> Float32[ndarray, " n"]:
    return np.concatenate([np.zeros(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)])
