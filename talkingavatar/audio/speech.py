"""The speech shipped with the package, with the times of its phonemes; `speech/README.md` says how."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Float32

from talkingavatar.errors import UserError

RATE = 16000


@dataclass(frozen=True)
class Phoneme:
    symbol: str  # IPA, without stress marks
    start: float  # seconds; of a stop: of its closure
    end: float
    stress: int = 0  # 2 primary, 1 secondary


@dataclass(frozen=True)
class Word:
    text: str  # with the punctuation that follows it; two short words may stand together ("of the")
    start: float  # seconds
    end: float


@dataclass(frozen=True)
class Speech:
    """One mono recording and what is said in it."""

    samples: Float32[np.ndarray, " N"]  # [-1, 1]
    rate: int  # Hz
    phonemes: tuple[Phoneme, ...]  # in order, without overlap; gaps are pauses
    words: tuple[Word, ...]
    text: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.rate

    def excerpt(self, start: float | int, end: float | int) -> Speech:
        """The sound from `start` to `end` seconds, and the phonemes and words that begin there; from 0."""
        start, end = float(start), float(end)
        first, last = round(start * self.rate), round(end * self.rate)
        phonemes = tuple(
            Phoneme(p.symbol, p.start - start, min(p.end, end) - start, p.stress)
            for p in self.phonemes
            if start <= p.start < end
        )
        words = tuple(
            Word(w.text, w.start - start, min(w.end, end) - start) for w in self.words if start <= w.start < end
        )
        text = " ".join(w.text for w in words)
        return Speech(self.samples[first:last], self.rate, phonemes, words, text)


def voices() -> list[str]:
    """Names of the embedded voices."""
    return list(_record())


def load_speech(voice: int | str) -> Speech:
    """The embedded recording of a voice, by name or by index (modulo their number).

    Raises:
        UserError: no voice has that name.
    """
    import soundfile

    names = voices()
    name = names[voice % len(names)] if isinstance(voice, int) else voice
    if name not in names:
        raise UserError("voice", repr(name), f"one of {', '.join(names)}, or an index", "choose an embedded voice")
    with (files("talkingavatar.audio") / "speech" / f"{name}.flac").open("rb") as file:
        samples, rate = soundfile.read(file, dtype="float32")
    entry = _record()[name]
    phonemes = tuple(Phoneme(*p) for p in entry["phonemes"])
    return Speech(samples, rate, phonemes, tuple(Word(*w) for w in entry["words"]), entry["text"])


@cache
def _record() -> dict[str, Any]:
    path = files("talkingavatar.audio") / "speech" / "speech.json"
    return json.loads(path.read_text(encoding="utf-8"))
