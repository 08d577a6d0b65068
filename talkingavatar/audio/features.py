"""Sound to feature windows on the video clock.

Frame i of a video is at i / fps seconds. Its window has 16 steps, 50 a second, centred on that time: step k
is at i / fps + (k - 7.5) / 50 seconds. Published data of the ER-NeRF family have the same layout (16 outputs
of a recogniser, 25 windows a second) with 44 channels (wav2vec 2.0, Esperanto) or 29 (DeepSpeech).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import gcd
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import pad

from talkingavatar.audio.steps import STEPS, step_times
from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import read_npy

KINDS = ("logmel", "wav2vec2", "deepspeech")
RATE = 16000  # Hz, of all features
BANDS = 44  # mel bands: as many as the published windows have channels
WINDOW, FFT = 400, 512  # samples
FLOOR = 1e-6  # power added before the logarithm, about -75 dB under loud speech
# Mean and standard deviation over the embedded speech with its pauses. Fixed, so that other sound that drives
# the model later comes out on the same scale.
LOG_MEAN, LOG_STD = -10.0, 3.8
WINDOWS_PER_SECOND = 25  # of published arrays


def audio_features(
    samples: Float[ndarray, " N"],
    rate: int,
    fps: float | int,
    frames: int,
    kind: str = "logmel",
    path: str | Path | None = None,
    output: str = "logits",
) -> Float32[ndarray, "T 16 C"]:
    """One window per frame; the sound is silent before its start and after its end.

    Args:
        samples: mono, [-1, 1], at `rate` Hz.
        frames: how many windows, T.
        kind: "logmel" (C = 44), "wav2vec2" (C of the checkpoint) or "deepspeech" (published windows).
        path: wav2vec2: checkpoint folder or hub name; deepspeech: the (M,16,C) array's npy file.
        output: wav2vec2: "logits" of the CTC head or "hidden" states of the last layer.

    Raises:
        UserError: unknown kind, or its checkpoint or array is absent or of the wrong form.
    """
    if kind == "logmel":
        return log_mel(resample(samples, rate), fps, frames)
    if kind == "wav2vec2":
        from talkingavatar.audio.wav2vec2 import wav2vec2_features

        return wav2vec2_features(resample(samples, rate), fps, frames, path, output)
    if kind == "deepspeech":
        return published_windows(path, fps, frames)
    raise UserError("audio.name", repr(kind), f"one of {', '.join(KINDS)}", "choose one of them")


def silence_features(
    fps: float | int,
    frames: int,
    kind: str = "logmel",
    path: str | Path | None = None,
    output: str = "logits",
) -> Float32[ndarray, "T 16 C"]:
    """Windows of digital silence; zeros in the shape of the published array for "deepspeech"."""
    features = audio_features(np.zeros(RATE, np.float32), RATE, fps, frames, kind, path, output)
    return np.zeros_like(features) if kind == "deepspeech" else features


def attention_windows(
    features: Float[Tensor, "T 16 C"], shots: Sequence[tuple[int, int]] = ()
) -> Float[Tensor, "T 8 16 C"]:
    """For frame i the windows of the frames [i - 4, i + 4), zero where its shot has none; a view where it can be.

    `shots` are (start, stop) and cover all frames; none given means one.
    """
    if len(shots) > 1:
        return torch.cat([attention_windows(features[start:stop]) for start, stop in shots])
    return pad(features, (0, 0, 0, 0, 4, 3)).unfold(0, 8, 1).permute(0, 3, 1, 2)


def resample(samples: Float[ndarray, " N"], rate: int, to: int = RATE) -> Float[ndarray, " M"]:
    """Polyphase resampling to `to` Hz."""
    from scipy.signal import resample_poly

    if rate == to:
        return samples
    common = gcd(rate, to)
    return resample_poly(samples, to // common, rate // common)


def step_samples(fps: float | int, frames: int, first_frame: int = 0) -> Int[ndarray, "T 16"]:
    """The first of the `WINDOW` samples that each step hears; negative before the sound's start."""
    return np.round(step_times(fps, frames, first_frame) * RATE).astype(np.int64) - WINDOW // 2


def log_mel(
    samples: Float[ndarray, " N"], fps: float | int, frames: int, first_frame: int = 0, first_sample: int = 0
) -> Float32[ndarray, "T 16 44"]:
    """Log power in 44 mel bands over 25 ms around each step, on a fixed scale.

    Args:
        samples: at 16 kHz; silence is around them.
        frames: how many, from `first_frame` on.
        first_sample: place of the first of the samples in the whole sound, of which they may be a part.
    """
    if frames < 1:
        return np.empty((0, STEPS, BANDS), np.float32)
    first = step_samples(fps, frames, first_frame) - first_sample
    before = max(0, -int(first.min()))
    after = max(0, int(first.max()) + WINDOW - len(samples))
    padded = np.pad(samples.astype(np.float64), (before, after))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)
    hann, bands = np.hanning(WINDOW), mel_filters()
    features = np.empty((frames, STEPS, BANDS), np.float32)
    for i in range(frames):  # frame by frame, so that an hour of sound needs no more memory than a second
        power = np.square(np.abs(np.fft.rfft(windows[first[i] + before] * hann, FFT))) / WINDOW
        features[i] = (np.log(power @ bands.T + FLOOR) - LOG_MEAN) / LOG_STD
    return features


@cache
def mel_filters() -> Float[ndarray, "44 257"]:
    """Triangles evenly spaced on the mel scale (HTK's formula) from 50 Hz to 8 kHz, with their peaks at 1."""

    def mel(hertz: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        return 2595 * np.log10(1 + hertz / 700)

    low, high = mel(np.array([50.0, RATE / 2]))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(FFT, 1 / RATE)
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(rising, falling), 0, None)


def published_windows(path: str | Path | None, fps: float | int, frames: int) -> Float32[ndarray, "T 16 C"]:
    """A published (M,16,C) array at 25 windows a second, interpolated linearly onto the frames.

    Raises:
        UserError: the file is absent, of another form, or half a second shorter or longer than the video.
    """
    form = "an npy file of windows (M,16,C), 25 a second"
    if path is None or not Path(path).is_file():
        raise UserError("audio.path", str(path), form, "give the file published with the clip")
    windows = read_npy(Path(path), "give the file published with the clip")
    numbers = windows.dtype.kind == "f" and np.isfinite(windows).all()
    if not numbers or windows.ndim != 3 or windows.shape[1] != STEPS or not windows.size:
        raise UserError(str(path), f"an array of shape {windows.shape}", f"{form}, all finite", "give another file")
    seconds, video = len(windows) / WINDOWS_PER_SECOND, frames / fps
    if abs(seconds - video) > 0.5:
        raise UserError(str(path), f"{seconds:.2f} s of windows", f"{video:.2f} s", "give the file of this clip")
    position = np.clip(np.arange(frames) / fps * WINDOWS_PER_SECOND, 0, len(windows) - 1)
    left = np.minimum(position.astype(np.int64), max(len(windows) - 2, 0))
    right = np.minimum(left + 1, len(windows) - 1)
    share = (position - left)[:, None, None]
    return ((1 - share) * windows[left] + share * windows[right]).astype(np.float32)
