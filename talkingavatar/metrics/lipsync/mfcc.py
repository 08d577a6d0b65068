"""The sound features SyncNet hears: `python_speech_features.mfcc` with its defaults, of 16-bit samples at 16 kHz.

Windows of 25 ms every 10 ms without a taper, pre-emphasis 0.97, FFT of 512, 26 triangles from 0 to 8 kHz on the mel
scale 2595 log10(1 + f / 700), orthonormal DCT-II, lifter 22; the first coefficient is replaced by the log energy. The
scale of the samples matters: it shifts the energy, so samples in [-1, 1] are brought to 16 bits first.
"""

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray
from scipy.fft import dct

from talkingavatar.errors import UserError

RATE = 16_000  # Hz
WINDOW, HOP, FFT = 400, 160, 512  # samples
CEPSTRA, FILTERS, LIFTER, EMPHASIS = 13, 26, 22, 0.97
CHUNK = 2000  # windows transformed at a time, for bounded memory
KNEE = 4800.0  # Hz up to which all of a voice's formants move alike
EPS = np.finfo(np.float64).eps


def mfcc(samples: Float[ndarray, " N"], tract: float = 1.0) -> Float64[ndarray, "M 13"]:
    """Cepstra of mono sound in [-1, 1] at 16 kHz; one row each 10 ms, the last window filled up with zeros.

    Args:
        samples: the sound.
        tract: length of another speaker's vocal tract, in that of this one; 1 is as published.

    Raises:
        UserError: no samples, samples that are no numbers, or samples at the scale of 16 bits already.
    """
    if not len(samples) or not np.isfinite(samples).all():
        found = "no samples" if not len(samples) else "samples that are not numbers"
        raise UserError("audio", found, "16 kHz mono sound in [-1, 1]", "give another sound")
    if (peak := float(np.abs(samples).max())) > 2:
        raise UserError("audio", f"samples up to {peak:.0f}", "sound in [-1, 1]", "divide 16-bit samples by 32768")
    scaled = np.clip(np.round(samples.astype(np.float64) * 32768), -32768, 32767)
    emphasised = np.append(scaled[0], scaled[1:] - EMPHASIS * scaled[:-1])
    windows = 1 + max(0, -(-(len(samples) - WINDOW) // HOP))
    padded = np.pad(emphasised, (0, max(0, (windows - 1) * HOP + WINDOW - len(samples))))
    framed = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:windows]
    return np.concatenate([_cepstra(framed[start : start + CHUNK], tract) for start in range(0, windows, CHUNK)])


def _cepstra(framed: Float64[ndarray, "M 400"], tract: float) -> Float64[ndarray, "M 13"]:
    power = np.abs(np.fft.rfft(framed, FFT)) ** 2 / FFT
    energy, bands = power.sum(1), power @ filterbank(tract).T
    bands = np.log(np.where(bands == 0, EPS, bands))
    cepstra = dct(bands, type=2, axis=1, norm="ortho")[:, :CEPSTRA]
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    cepstra[:, 0] = np.log(np.where(energy == 0, EPS, energy))
    return cepstra


def filterbank(tract: float = 1.0) -> Float64[ndarray, "26 257"]:
    """Triangles whose corners are rounded down to bins of the transform.

    `tract` moves them so that formants stand where a tract of that length has them (Jaitly and Hinton, "Vocal tract
    length perturbation improves speech recognition", 2013): linear up to a knee, from there to the half rate.
    """
    mels = np.linspace(0.0, 2595 * np.log10(1 + RATE / 2 / 700), FILTERS + 2)
    corners = np.floor((FFT + 1) * _stretched(700 * (10 ** (mels / 2595) - 1), tract) / RATE)[:, None]
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(FFT // 2 + 1)
    return np.minimum((bins - left) / (peak - left), (right - bins) / (right - peak)).clip(0)


def _stretched(hertz: Float64[ndarray, " n"], factor: float) -> Float64[ndarray, " n"]:
    """Frequencies times the factor below the knee; the half rate stays where it is."""
    knee, half = KNEE * min(factor, 1) / factor, RATE / 2
    above = half - (half - factor * knee) / (half - knee) * (half - hertz)
    return np.where(hertz <= knee, factor * hertz, above)
