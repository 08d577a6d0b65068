"""One speaker's mouth from sound: ridge regression fitted in a second on the frames of one clip.

A window of cepstra (0.3 s round the frame) predicts jaw and mouth parameters of the frame; closed form, the strength
of each output chosen by cross-validation over contiguous blocks. Sound of another level or microphone is brought to
the clip's. Regression shrinks what it is unsure of; each output is stretched again to the spread it had in the clip.
Where the sound is silent, the mouth goes to how it looked when the speaker's lips were closest.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from talkingavatar.audio.features import RATE, log_mel
from talkingavatar.audio.loudness import SILENT, envelope, loud_level
from talkingavatar.runtime.arrays import read_npz
from talkingavatar.runtime.files import whole
from talkingavatar.runtime.readers import Unreadable

VERSION = 1  # raise when the same clip would give another model
CEPSTRA = 13
STRENGTHS = np.geomspace(10.0, 10_000.0, 10)  # of the ridge, for standardised features
BLOCKS = 5  # of the cross-validation
MOST_GAIN = 2.0  # the stretch's limit: beyond it, noise would be stretched
QUIET_DB, SPEECH_DB = -45.0, -32.0  # under the loud level: silence below, speech above
ANEW = "remove it; it is made anew"
WINDOW_S = 0.16  # half the features' window, seconds


@dataclass(frozen=True)
class MouthModel:
    """Sound to P parameters of the mouth."""

    weights: Float[ndarray, "F P"]  # from standardised features to standardised parameters
    feature_mean: Float[ndarray, " F"]
    feature_std: Float[ndarray, " F"]
    mean: Float[ndarray, " P"]
    std: Float[ndarray, " P"]
    gain: Float[ndarray, " P"]
    low: Float[ndarray, " P"]  # the range of the clip
    high: Float[ndarray, " P"]
    rest: Float[ndarray, " P"]  # of the closed mouth
    loud: Float[ndarray, ""]  # the clip's loud level, RMS
    voice: Float[ndarray, " C"]  # mean cepstra of the clip's speech
    held_out_r: Float[ndarray, " P"]  # cross-validated correlation

    def predict(self, samples: Float[ndarray, " N"], fps: float | int, frames: int) -> Float[ndarray, "T P"]:
        """Parameters of every frame of a sound (mono, 16 kHz)."""
        features, activity = self._listen(samples, fps, frames)
        standard = (features - self.feature_mean) / self.feature_std
        values = self.mean + self.std * self.gain * (standard @ self.weights)
        return self.rest + activity[:, None] * (np.clip(values, self.low, self.high) - self.rest)

    def _listen(
        self, samples: Float[ndarray, " N"], fps: float | int, frames: int
    ) -> tuple[Float[ndarray, "T F"], Float[ndarray, " T"]]:
        loudness = envelope(samples, RATE, fps, frames)
        level = loud_level(loudness)
        if level < SILENT:
            return np.tile(self.feature_mean, (frames, 1)), np.zeros(frames)
        cepstra = cepstral_windows(samples * (self.loud / level), fps, frames)
        speaking = speech_activity(loudness, level, fps)
        heard = speaking > 0.5
        # A second of speech tells little about a voice: what is known of it grows with the number of frames.
        trust = heard.sum() / (heard.sum() + 2 * fps)
        if heard.any():
            cepstra = cepstra + trust * (self.voice - cepstra[heard].mean((0, 1)))
        return cepstra.reshape(frames, -1), speaking

    def save(self, file: Path) -> None:
        with whole(file) as temporary:
            np.savez(temporary, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, file: Path, outputs: int) -> MouthModel:
        """
        Raises:
            Unreadable: the file is damaged, or of another number of parameters.
            UserError: there is none.
        """
        table = read_npz(file, [f.name for f in fields(cls)], ANEW)
        features = len(np.atleast_1d(table["feature_mean"]))
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(table, (outputs,))
        shapes |= {"weights": (features, outputs), "feature_mean": (features,), "feature_std": (features,)}
        shapes |= {"loud": (), "voice": (CEPSTRA,)}
        for name, values in table.items():
            if values.shape != shapes[name] or values.dtype.kind != "f" or not np.isfinite(values).all():
                raise Unreadable(str(file), f"{name} that fits no mouth", f"numbers of shape {shapes[name]}", ANEW)
        return cls(**{f.name: table[f.name] for f in fields(cls)})


def fit_mouth(
    samples: Float[ndarray, " N"],
    fps: float | int,
    parameters: Float[ndarray, "T P"],
    opening: Float[ndarray, " T"],
    used: Bool[ndarray, " T"],
) -> MouthModel:
    """Fit to the frames `used` of a clip.

    Args:
        samples: the clip's sound, mono, 16 kHz.
        parameters: the mouth as tracked, a row a frame.
        opening: how far the lips stand apart, any unit; tells which frames show a closed mouth.
        used: frames to learn from; those near a cut hear another shot and are best left out (`away_from_cuts`).
    """
    frames = len(parameters)
    loudness = envelope(samples, RATE, fps, frames)
    level = loud_level(loudness[used])
    windows = cepstral_windows(samples, fps, frames)
    heard = used & (speech_activity(loudness, level, fps) > 0.5)
    features, targets = windows[used].reshape(used.sum(), -1), parameters[used].astype(np.float64)
    feature_mean, feature_std = features.mean(0), features.std(0) + 1e-2
    mean, std = targets.mean(0), targets.std(0) + 1e-6
    x, y = (features - feature_mean) / feature_std, (targets - mean) / std
    strengths, foretold = _cross_validate(x, y)
    correlations = _column_correlations(foretold, y)
    # An output that sound says nothing about stays at its mean rather than following noise.
    gain = np.where(correlations > 0.1, np.clip(1 / np.maximum(foretold.std(0), 1e-6), 1, MOST_GAIN), 0.0)
    closed = opening[used] <= np.percentile(opening[used], 10)
    return MouthModel(
        weights=_ridge(x, y, strengths),
        feature_mean=feature_mean,
        feature_std=feature_std,
        mean=mean,
        std=std,
        gain=gain,
        low=np.percentile(targets, 1, axis=0),
        high=np.percentile(targets, 99, axis=0),
        rest=targets[closed].mean(0),
        loud=np.asarray(level),
        voice=windows[heard].mean((0, 1)) if heard.any() else windows.mean((0, 1)),
        held_out_r=correlations,
    )


def away_from_cuts(shots: list[tuple[int, int]], frames: int, fps: float | int) -> Bool[ndarray, " T"]:
    """Frames whose sound window lies within their own shot; the clip's own start and end are silent, not cut."""
    margin = int(np.ceil(WINDOW_S * fps))
    kept = np.zeros(frames, dtype=bool)
    for start, stop in shots:
        first, last = start + margin * (start > 0), stop - margin * (stop < frames)
        kept[first : max(first, last)] = True
    return kept


def cepstral_windows(samples: Float[ndarray, " N"], fps: float | int, frames: int) -> Float[ndarray, "T 8 13"]:
    """Cepstra of the log-mel steps round each frame, averaged in pairs: 25 a second over 0.32 s."""
    from scipy.fft import dct

    cepstra = dct(log_mel(samples, fps, frames), axis=2, norm="ortho")[:, :, :CEPSTRA]
    return cepstra.reshape(frames, -1, 2, CEPSTRA).mean(2).astype(np.float64)


def speech_activity(loudness: Float[ndarray, " T"], level: float, fps: float | int) -> Float[ndarray, " T"]:
    """0 in silence, 1 in speech, with slopes of about 0.1 s; a closure inside a word is no silence."""
    decibels = 20 * np.log10(np.maximum(loudness, 1e-9) / max(level, 1e-9))
    active = np.clip((decibels - QUIET_DB) / (SPEECH_DB - QUIET_DB), 0, 1)
    reach = max(1, round(0.1 * fps))
    widened = np.lib.stride_tricks.sliding_window_view(np.pad(active, reach, mode="edge"), 2 * reach + 1).max(1)
    kernel = np.hanning(2 * reach + 3)
    return np.convolve(np.pad(widened, reach + 1, mode="edge"), kernel / kernel.sum(), mode="valid")


def _cross_validate(x: Float[ndarray, "n F"], y: Float[ndarray, "n P"]) -> tuple[Float[ndarray, " P"], ndarray]:
    """The best strength of each output, and what the others' blocks foretell of each block (n,P) with it."""
    foretold = np.zeros((len(STRENGTHS), *y.shape))
    for block in np.array_split(np.arange(len(x)), BLOCKS):
        rest = np.setdiff1d(np.arange(len(x)), block)
        for row, strength in enumerate(STRENGTHS):
            foretold[row, block] = x[block] @ _ridge(x[rest], y[rest], np.full(y.shape[1], strength))
    best = np.square(foretold - y).mean(1).argmin(0)
    return STRENGTHS[best], foretold[best, :, np.arange(y.shape[1])].T


def _ridge(
    x: Float[ndarray, "n F"], y: Float[ndarray, "n P"], strengths: Float[ndarray, " P"]
) -> Float[ndarray, "F P"]:
    """(X'X + s I)^-1 X'Y with a strength for each column, through one eigendecomposition."""
    values, vectors = np.linalg.eigh(x.T @ x)
    return vectors @ ((vectors.T @ (x.T @ y)) / (values[:, None] + strengths))


def _column_correlations(a: Float[ndarray, "n P"], b: Float[ndarray, "n P"]) -> Float[ndarray, " P"]:
    a, b = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt(np.square(a).sum(0) * np.square(b).sum(0))
    return (a * b).sum(0) / np.maximum(scale, 1e-12)
