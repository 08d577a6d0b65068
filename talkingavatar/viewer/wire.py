"""Binary messages of a live connection, both ways: a header of 16 bytes, then numbers, all little-endian."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Float
from numpy import ndarray

HEADER = struct.Struct("<BBHId")
LATE = 1  # flag: frames before this one were left out, or sound was


class Kind(IntEnum):
    """What follows the header."""

    FRAMES = 1  # down: float32, `count` rows of a motion
    SOUND = 2  # up: int16, `count` samples, 16 kHz mono


@dataclass(frozen=True)
class Message:
    """One message of a connection."""

    kind: Kind
    flags: int
    sequence: int  # counts the messages of a kind
    time: float  # seconds of the stream's sound, of the first row or sample
    values: Float[ndarray, "n D"] | Float[ndarray, " n"]

    def packed(self) -> bytes:
        stored = self.values if self.kind is Kind.FRAMES else np.round(self.values.clip(-1, 1) * 32767)
        content = stored.astype("<f4" if self.kind is Kind.FRAMES else "<i2").tobytes()
        return HEADER.pack(self.kind, self.flags, len(self.values), self.sequence % 2**32, self.time) + content


def read_sound(content: bytes) -> Message:
    """Sound that a browser sends; samples in [-1, 1].

    Raises:
        ValueError: it is something else.
    """
    if len(content) < HEADER.size:
        raise ValueError(f"{len(content)} bytes, less than a header")
    kind, flags, count, sequence, time = HEADER.unpack_from(content)
    if kind != Kind.SOUND:
        raise ValueError(f"a message of kind {kind}, not {int(Kind.SOUND)}")
    if not math.isfinite(time) or len(content) != HEADER.size + 2 * count:
        raise ValueError(f"{count} samples in {len(content)} bytes, at {time} s")
    samples = np.frombuffer(content, "<i2", offset=HEADER.size).astype(np.float32) / 32767
    return Message(Kind.SOUND, flags, sequence, time, samples)
