"""Sound that comes in chunks to the same feature windows as the whole file's."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from talkingavatar.audio.features import RATE, WINDOW, log_mel, step_samples
from talkingavatar.audio.steps import STEPS, STEPS_PER_SECOND


class LogMelStream:
    """Log-mel windows of a sound as soon as all that they hear has come; equal to `log_mel` of the whole, to the bit.

    A window reaches `lookahead` seconds past its frame; of the samples, those that a coming window hears are kept.
    """

    def __init__(self, fps: float | int) -> None:
        self.fps = fps
        self.frames = 0  # given out so far
        self.lookahead = (STEPS - 1) / 2 / STEPS_PER_SECOND + WINDOW / 2 / RATE
        self._kept = np.zeros(0, np.float32)
        self._first = 0  # place of the first kept sample

    @property
    def samples(self) -> int:
        """Samples taken so far."""
        return self._first + len(self._kept)

    def push(self, samples: Float[ndarray, " N"]) -> Float32[ndarray, "n 16 44"]:
        """The next samples (16 kHz mono); the windows that they complete, often none."""
        self._kept = np.concatenate([self._kept, samples])
        return self._give(self._complete())

    def finish(self, frames: int | None = None) -> Float32[ndarray, "n 16 44"]:
        """The rest, silence after the sound's end.

        Args:
            frames: of the whole; None: as many as the sound is long.
        """
        whole = round(self.samples / RATE * self.fps) if frames is None else frames
        return self._give(max(0, whole - self.frames))

    def _complete(self) -> int:
        """Frames whose windows end within what has come."""
        count = max(0, int((self.samples / RATE - self.lookahead) * self.fps) + 2 - self.frames)
        ends = step_samples(self.fps, count, self.frames)[:, -1] + WINDOW
        return int((ends <= self.samples).sum())

    def _give(self, count: int) -> Float32[ndarray, "n 16 44"]:
        windows = log_mel(self._kept, self.fps, count, self.frames, self._first)
        self.frames += count
        unheard = int(step_samples(self.fps, 1, self.frames)[0, 0]) - self._first
        unheard = min(max(0, unheard), len(self._kept))
        self._kept, self._first = self._kept[unheard:], self._first + unheard
        return windows
