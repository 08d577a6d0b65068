"""The sound of any file as mono samples: the one road for films, sound files, datasets and whatever drives an avatar.

Sound is placed by its time stamps: from the first picture of the film it belongs to (`audio.film`), else from its own
start. Of several tracks the default one is heard, or the first that is not silent; of several channels the voice
(`audio.mono`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from talkingavatar.audio.features import resample
from talkingavatar.audio.film import PATIENCE, Film, Steady, decoded, find_film, opened
from talkingavatar.audio.mono import as_float, weights
from talkingavatar.errors import UserError

GAP = 0.02  # seconds a block may be off before silence is put in (or sound is overwritten)
SILENT = 1e-3  # peak below which sound counts as silence, -60 dB
LOUDEST = 4.0  # RMS of a channel beyond which samples are of another scale than 1; less is cut off as a player does
EXPECTED = "a sound file (wav, flac, mp3 ...) or a video with sound"


Layout = tuple[str, ...]  # names of channels
Mix = dict[Layout, Float[ndarray, " C"]]  # what each channel counts; layouts may change within a track


class Block(NamedTuple):
    """Samples as decoded."""

    time: float | None  # of the first, by the file's stamps, seconds
    rate: int
    names: Layout
    channels: Float32[ndarray, "C n"]


class Piece(NamedTuple):
    """A stretch without a gap."""

    start: float  # seconds, on the film's clock or from the first sample
    rate: int
    samples: Float32[ndarray, " n"]


def read_sound(file: Path, rate: int, field: str = "audio") -> Float32[ndarray, " N"]:
    """The voice, mono, [-1, 1], at `rate` Hz; sample 0 sounds at the film's first picture, or is the sound's first.

    Raises:
        UserError: no such file, no sound in it, or it is damaged; `field` is what the user named it by.
    """
    film = find_film(file, field, EXPECTED)
    track, mix = _voice(file, field)
    pieces = _pieces(_blocks(file, field, track), film, mix)
    placed = [(round(start * rate), resample(samples, own, rate)) for start, own, samples in pieces]
    whole = np.zeros(max(0, *(start + len(samples) for start, samples in placed), 0), np.float32)
    for start, samples in placed:
        room = whole[max(start, 0) : max(start + len(samples), 0)]
        room[:] = samples[len(samples) - len(room) :]
    if not len(whole):
        raise UserError(field, f"{file}: a sound of no length", EXPECTED, "give another file")
    return whole.clip(-1, 1)


def _voice(file: Path, field: str) -> tuple[int, Mix]:
    """The track that is heard, and its mix.

    Raises:
        UserError: there is none, or its samples are no sound.
    """
    with opened(file, field, EXPECTED) as container:
        streams = sorted((s for s in container.streams.audio if s.codec_context is not None), key=_standing)
        tracks = [stream.index for stream in streams]
    if not tracks:
        raise UserError(field, f"{file}: no sound in it", EXPECTED, "give another file")
    silent: list[tuple[int, Mix]] = []
    for track in tracks:
        peak, products = _heard(file, field, track)
        mix = {names: weights(values, names) for names, values in products.items()}
        if peak >= SILENT:
            return track, mix
        silent.append((track, mix))
    return silent[0]


def _standing(stream: Any) -> tuple[bool, bool]:
    """What is spoken by somebody else than is seen comes last; before it what is not the default."""
    kinds = type(stream.disposition)
    other = kinds.hearing_impaired | kinds.visual_impaired | kinds.comment
    return bool(stream.disposition & other), not stream.disposition & kinds.default


def _heard(file: Path, field: str, track: int) -> tuple[float, dict[Layout, Float[ndarray, "C C"]]]:
    """A track's peak, and its channels' products with each other, by layout.

    Raises:
        UserError: samples that are not numbers, or of another scale.
    """
    peak, count = 0.0, 0
    products: dict[Layout, Float[ndarray, "C C"]] = {}
    for block in _blocks(file, field, track):
        values = block.channels.astype(np.float64)
        peak, count = max(peak, float(np.abs(values).max(initial=0))), count + values.shape[1]
        products[block.names] = products.get(block.names, np.zeros(1)) + values @ values.T
    power = sum((np.diag(values).max() for values in products.values()), 0.0)
    if not power <= count * LOUDEST**2:
        found = f"samples of up to {peak:g}" if np.isfinite(power) else "samples that are not numbers"
        raise UserError(field, f"{file}: {found}", "samples between -1 and 1", "export the sound again")
    return peak, products


def _blocks(file: Path, field: str, track: int) -> Iterator[Block]:
    with opened(file, field, EXPECTED) as container:
        for frame in decoded(container, container.streams[track]):
            try:
                values = frame.to_ndarray()
            except ValueError as error:
                found = f"{file}: samples of type {frame.format.name}"
                raise UserError(field, found, "integers of up to 32 bits, or floats", "export it as one") from error
            if not frame.format.is_planar:
                values = values.reshape(frame.samples, -1).T
            names = tuple(channel.name for channel in frame.layout.channels)
            yield Block(frame.time, frame.sample_rate, names, as_float(values))


def _pieces(blocks: Iterator[Block], film: Film | None, mix: Mix) -> Iterator[Piece]:
    """Stretches without a gap."""
    steady = Steady(PATIENCE if film is None else film.leap, 0.0)
    clock = None if film is None else film.clock
    start = end = 0.0
    rate = 0
    parts: list[Float32[ndarray, " n"]] = []
    for block in blocks:
        time = (clock or 0.0) + end if block.time is None else steady(block.time)
        clock = time if clock is None else clock
        if parts and (block.rate != rate or abs(time - clock - end) > GAP):
            yield Piece(start, rate, np.concatenate(parts))
            parts = []
        if not parts:
            start, end, rate = time - clock, time - clock, block.rate
        parts.append((mix[block.names] @ block.channels).astype(np.float32))
        steady.step = len(parts[-1]) / rate  # where stamps leap, the next block follows this one
        end += steady.step
    if parts:
        yield Piece(start, rate, np.concatenate(parts))
