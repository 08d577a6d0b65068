"""The same speech in another manner: pitch, its range, tempo, loudness and brightness of every stretch of it.

Pitch and tempo by TD-PSOLA (Moulines and Charpentier, "Pitch-synchronous waveform processing techniques", 1990): grains
of two periods, laid at other distances. Loudness and brightness by a gain that is linear in octaves, frame by frame.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.fft import irfft, rfft
from scipy.ndimage import gaussian_filter1d, median_filter, uniform_filter1d
from scipy.signal import istft, stft

from talkingavatar.audio.speech import Phoneme, Speech, Word

HOP = 0.01  # seconds between two readings of the pitch
UNPITCHED = 0.005  # seconds between the marks of what has none
WINDOW = 0.04  # seconds that a reading looks at
LOWEST, HIGHEST = 65.0, 420.0  # Hz
VOICED = 0.5  # autocorrelation from which a sound has a pitch
LOUD = 0.02  # of the loudest reading's power, below which it is a pause
WANDER = 0.2  # of a period that a mark may lie beside its place
TILT_FROM, TILT_TO, PIVOT = 200.0, 6000.0, 1000.0  # Hz between which brightness tilts, and where it turns
FFT = 512  # samples
BLEND = 0.03  # standard deviation of the change from one stretch to the next, seconds
THINNEST = 0.2  # sum of grains that is made up for
PEAK = 0.98  # that nothing is louder than


@dataclass(frozen=True)
class Manner:
    """How something is said, beside how it was: 1 or 0 changes nothing."""

    pitch: float = 1.0  # factor
    range: float = 1.0  # factor of the pitch's distance from its middle, in octaves
    tempo: float = 1.0  # factor
    gain: float = 0.0  # dB
    tilt: float = 0.0  # dB an octave: brighter, or duller below 0

    def scaled(self, strength: float) -> Manner:
        """So much of it; factors to that power."""
        factors = {name: getattr(self, name) ** strength for name in ("pitch", "range", "tempo")}
        return Manner(**factors, gain=strength * self.gain, tilt=strength * self.tilt)


@dataclass(frozen=True)
class Stretch:
    """From `start` to `end`, seconds."""

    start: float
    end: float
    manner: Manner


@dataclass(frozen=True, eq=False)
class Analysed:
    """A speech, and what it has periods of."""

    speech: Speech
    middle: float  # median of its pitch, Hz
    marks: Int[ndarray, " M"]  # of the periods, samples
    pitched: Bool[ndarray, " M"]  # which of them have a pitch


def analysed(speech: Speech) -> Analysed:
    """What `spoken` needs to know, the same for all manners; a second of work for 100 s of sound."""
    pitch = pitch_of(speech.samples, speech.rate)
    middle = float(np.median(pitch[pitch > 0])) if pitch.any() else LOWEST
    return Analysed(speech, middle, *_marks(speech.samples, pitch, speech.rate))


def spoken(heard: Analysed, stretches: Sequence[Stretch]) -> tuple[Speech, Float[ndarray, " S1"]]:
    """The speech in the manner of each stretch, and the stretches' edges in it, seconds; the same gives the same bytes.

    Phonemes and words are moved with the sound.

    Args:
        stretches: that cover the speech without gaps, from 0 to its end.
    """
    speech = heard.speech
    before = np.array([0.0, *(s.end for s in stretches)])
    after = np.array([0.0, *np.cumsum([(s.end - s.start) / s.manner.tempo for s in stretches])])

    def moved(seconds: float) -> float:
        return float(np.interp(seconds, before, after))

    samples = _relaid(heard, stretches, after)
    samples = _filtered(samples, speech.rate, stretches, after)
    samples *= min(1.0, PEAK / max(float(np.abs(samples).max(initial=0)), 1e-9))
    phonemes = tuple(Phoneme(p.symbol, moved(p.start), moved(p.end), p.stress) for p in speech.phonemes)
    words = tuple(Word(w.text, moved(w.start), moved(w.end)) for w in speech.words)
    return replace(speech, samples=samples.astype(np.float32), phonemes=phonemes, words=words), after


def pitch_of(samples: Float[ndarray, " N"], rate: int) -> Float[ndarray, " T"]:
    """Fundamental frequency every `HOP` seconds, Hz; 0 where there is none."""
    hop, window = round(HOP * rate), round(WINDOW * rate)
    padded = np.pad(np.asarray(samples, np.float64), (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][: -(-len(samples) // hop)]
    frames = (frames - frames.mean(1, keepdims=True)) * np.hanning(window)
    alike = _autocorrelation(frames) / _autocorrelation(np.hanning(window)[None])
    power = alike[:, 0].copy()
    alike = alike / np.maximum(power, 1e-12)[:, None]
    low, high = int(rate / HIGHEST), int(rate / LOWEST)
    best = alike[:, low:high].max(1)
    # The first peak nearly as high as the highest: twice the period is as much like it.
    first = low + (alike[:, low:high] > 0.9 * best[:, None]).argmax(1)
    near = first[:, None] + np.arange(8)
    period = first + np.take_along_axis(alike, near, 1).argmax(1)
    voiced = (best > VOICED) & (power > LOUD * np.quantile(power, 0.95))
    return median_filter(np.where(voiced, rate / period, 0.0), 5)


def _autocorrelation(frames: Float[ndarray, "T W"]) -> Float[ndarray, "T L"]:
    """At lags from 0 to half of a frame."""
    half = frames.shape[1] // 2
    spectrum = rfft(frames.astype(np.float32), frames.shape[1] + half, axis=1)
    return irfft(np.square(spectrum.real) + np.square(spectrum.imag), axis=1)[:, :half]


def _marks(
    samples: Float[ndarray, " N"], pitch: Float[ndarray, " T"], rate: int
) -> tuple[Int[ndarray, " M"], Bool[ndarray, " M"]]:
    """Where periods have their peaks, samples, and which have a pitch; what has none is marked every
    `UNPITCHED` seconds."""
    hop, smooth = round(HOP * rate), uniform_filter1d(np.asarray(samples, np.float64), max(rate // 2000, 1))
    marks, place = [0], 0
    while True:
        frequency = pitch[min(marks[-1] // hop, len(pitch) - 1)]
        period = round(rate / frequency) if frequency else round(UNPITCHED * rate)
        place = marks[-1] + period
        if place + period >= len(samples):
            break
        if frequency:
            low = place - int(WANDER * period)
            place = low + int(smooth[low : place + int(WANDER * period) + 1].argmax())
        marks.append(place)
    found = np.array(marks)
    return found, pitch[np.minimum(found // hop, len(pitch) - 1)] > 0


def _relaid(heard: Analysed, stretches: Sequence[Stretch], after: Float[ndarray, " S1"]) -> Float[ndarray, " M"]:
    """Grains of two periods at other distances, and as many as the tempo asks for."""
    speech, marks = heard.speech, heard.marks
    rate = speech.rate
    spans, places = np.diff(marks, append=2 * marks[-1] - marks[-2]).tolist(), marks.tolist()
    reach = max(spans) + 1
    source = np.pad(np.asarray(speech.samples, np.float64), reach)
    last = round(after[-1] * rate)
    out, weight = np.zeros((2, last + 2 * reach + 2))
    place = 0.0
    for stretch, begin, end in zip(stretches, after[:-1].tolist(), after[1:].tolist(), strict=True):
        told = stretch.manner
        while place < end * rate:
            wanted = stretch.start * rate + (place - begin * rate) * told.tempo
            right = min(bisect_left(places, wanted - 0.5), len(places) - 1)
            near = right - 1 if right and wanted - places[right - 1] < places[right] - wanted else right
            half = spans[near]
            grain, into, out_of = _grain(half), round(place) + reach - half, places[near] + reach - half
            out[into : into + len(grain)] += grain * source[out_of : out_of + len(grain)]
            weight[into : into + len(grain)] += grain
            height = told.pitch * heard.middle * (rate / half / heard.middle) ** told.range
            place += rate / height if heard.pitched[near] else half
    return (out / np.maximum(weight, THINNEST))[reach : reach + last]


@cache
def _grain(half: int) -> Float[ndarray, " G"]:
    return np.hanning(2 * half + 1)


def _filtered(
    samples: Float[ndarray, " N"], rate: int, stretches: Sequence[Stretch], edges: Float[ndarray, " S1"]
) -> Float[ndarray, " N"]:
    """Louder or softer, brighter or duller."""
    frequencies, times, spectrum = stft(samples, rate, nperseg=FFT, noverlap=FFT * 3 // 4)
    rows = np.searchsorted(edges, times, side="right").clip(1, len(stretches)) - 1
    sigma = BLEND / (times[1] - times[0])
    gain, tilt = (
        gaussian_filter1d(np.array([getattr(s.manner, name) for s in stretches])[rows], sigma, mode="nearest")
        for name in ("gain", "tilt")
    )
    octaves = np.log2(np.clip(frequencies, TILT_FROM, TILT_TO) / PIVOT)
    decibels = gain[None] + tilt[None] * octaves[:, None]
    _, changed = istft(spectrum * 10 ** (decibels / 20), rate, nperseg=FFT, noverlap=FFT * 3 // 4)
    return changed[: len(samples)]
