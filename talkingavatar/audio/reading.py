"""Any sound file, or the sound of any video, as mono samples on its own clock."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from talkingavatar.errors import UserError


def read_sound(file: Path, rate: int, field: str = "audio") -> Float32[ndarray, " N"]:
    """The first sound track, mono, [-1, 1], at `rate` Hz. What the track starts late by (in a video) is silent.

    Raises:
        UserError: no such file, no sound in it, or it is damaged; `field` is what the user named it by.
    """
    expected = "a sound file (wav, flac, mp3 ...) or a video with sound"
    if not file.is_file():
        raise UserError(field, f"{file}: no such file", expected, "give the path of one")
    try:
        parts = _decode(file, rate)
    except (av.FFmpegError, IndexError, ValueError) as error:
        reason = "no sound in it" if isinstance(error, IndexError) else "not readable or damaged"
        raise UserError(field, f"{file}: {reason}", expected, "give another file") from error
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not len(samples):
        raise UserError(field, f"{file}: a sound of no length", expected, "give another file")
    if not np.isfinite(samples).all():
        raise UserError(field, f"{file}: samples that are not numbers", expected, "give another file")
    return samples


def _decode(file: Path, rate: int) -> list[Float32[ndarray, " _"]]:
    """Pieces of the track in order, the silence before its start first."""
    parts: list[Float32[ndarray, " _"]] = []
    with av.open(str(file)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        for frame in container.decode(stream):
            if not parts:
                begins = float(frame.time or 0.0) if container.streams.video else 0.0
                parts.append(np.zeros(max(0, round(begins * rate)), np.float32))
            parts.extend(piece.to_ndarray()[0] for piece in resampler.resample(frame))
        if parts:
            parts.extend(piece.to_ndarray()[0] for piece in resampler.resample(None))
    return parts
