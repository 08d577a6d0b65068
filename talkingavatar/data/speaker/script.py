"""Which emotion each phrase of a speech is said with, how strongly, and what that does to the voice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from talkingavatar.audio.prosody import Analysed, Manner, Stretch, analysed, spoken
from talkingavatar.audio.speech import Speech, load_speech, voices
from talkingavatar.config.emotions import chosen_emotions
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.speaker.identity import IDENTITIES

STRENGTHS = (0.45, 0.7, 1.0)  # weak, middling, strong
LEFT = 60.0  # seconds that a stranger who begins late has left to say
SHORTEST, LONGEST = 1.2, 2.0  # seconds from which a comma ends a phrase, and from which any word does
VARIETY = (0.8, 1.2)  # of a voice's change, between two phrases of one label

# At full strength (next_methods D.1; the directions are those of Scherer, "Vocal communication of emotion", 2003).
MANNERS = {
    "neutral": Manner(),
    "happy": Manner(pitch=1.18, range=1.50, tempo=1.08, gain=4.5, tilt=0.0),
    "sad": Manner(pitch=0.90, range=0.60, tempo=0.86, gain=-6.0, tilt=-1.2),
    "angry": Manner(pitch=1.06, range=1.25, tempo=1.10, gain=5.5, tilt=3.0),
    "surprised": Manner(pitch=1.25, range=1.50, tempo=0.97, gain=2.5, tilt=-2.5),
    "disgusted": Manner(pitch=0.86, range=0.80, tempo=0.90, gain=0.0, tilt=3.0),
    "afraid": Manner(pitch=1.22, range=0.70, tempo=1.15, gain=-5.0, tilt=2.2),
    "contempt": Manner(pitch=0.94, range=1.20, tempo=0.87, gain=-1.0, tilt=-3.5),
}


@dataclass(frozen=True)
class Felt:
    """What is felt from `start` to `end`, seconds; a strength of 0 is neutral."""

    start: float
    end: float
    emotion: str
    strength: float


@dataclass(frozen=True)
class Take:
    """A speech, and what is felt with it, without gaps."""

    speech: Speech
    felt: tuple[Felt, ...]


def voice_of(identity: int) -> int:
    """Which of the embedded voices a person speaks with."""
    return identity % len(voices())


def said(config: DataConfig) -> Take:
    """All that the configuration's person has to say; nothing is labelled where it asks for no emotions.

    Strangers begin anywhere in the recording of a voice, those whose emotions are labelled at its start.
    """
    emotions = chosen_emotions(config.emotions)
    voice = voice_of(config.identity)
    if emotions:
        return take_of(voice, emotions, config.seed)
    speech = load_speech(voice)
    if config.identity >= len(IDENTITIES):
        begin = float(np.random.default_rng([config.identity, 37]).uniform(0, speech.duration - LEFT))
        speech = speech.excerpt(begin, speech.duration)
    return Take(speech, ())


@lru_cache(maxsize=3)
def take_of(voice: int, emotions: tuple[str, ...], seed: int) -> Take:
    """All that an embedded voice has to say, each phrase with one of the emotions; the same gives the same bytes."""
    heard = _heard(voice)
    edges = phrases(heard.speech)
    rng = np.random.default_rng([seed, 9])
    parts = list(zip(_deck(emotions, rng), rng.uniform(*VARIETY, len(edges)), edges[:-1], edges[1:], strict=False))
    stretches = [Stretch(a, b, MANNERS[emotion].scaled(how * strength)) for (emotion, strength), how, a, b in parts]
    said, times = spoken(heard, stretches)
    felt = (Felt(float(a), float(b), *part[0]) for part, a, b in zip(parts, times[:-1], times[1:], strict=True))
    return Take(said, tuple(felt))


@lru_cache(maxsize=3)
def _heard(voice: int) -> Analysed:
    return analysed(load_speech(voice))


def phrases(speech: Speech) -> list[float]:
    """Edges of its sentences' parts, seconds: between words, and where a sentence goes on what is felt may change."""
    edges, begin = [0.0], speech.words[0].start
    for word, after in zip(speech.words, speech.words[1:], strict=False):
        length = word.end - begin
        if length > (SHORTEST if word.text[-1] in ".?!,;:" else LONGEST):
            edges.append(_after_sound(speech, 0.5 * (word.end + after.start)))
            begin = after.start
    return [*edges, speech.duration]


def _after_sound(speech: Speech, time: float) -> float:
    """The end of the phoneme that is under way at a time; the time, if none is: words that run together share one."""
    return next((p.end for p in speech.phonemes if p.start < time < p.end), time)


def _deck(emotions: Sequence[str], rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """Each emotion once, in an order of chance, then again, never the same twice running; each in all strengths."""
    strengths: dict[str, list[float]] = {emotion: [] for emotion in emotions}
    last = ""
    while True:
        order = rng.permutation(emotions).tolist()
        for emotion in order if order[0] != last else reversed(order):
            strengths[emotion] = strengths[emotion] or rng.permutation(STRENGTHS).tolist()
            last = emotion
            yield emotion, 0.0 if emotion == "neutral" else strengths[emotion].pop()
