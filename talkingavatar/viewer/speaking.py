"""A fitted run that speaks as it hears: its driver's live form, beside idle motion of the body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.stream import LogMelStream
from talkingavatar.drivers.driver import Driver, DriverStream, Prompt
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.performing.performance import idle_motion
from talkingavatar.types import BodyPose, DrivingSignal
from talkingavatar.viewer.shown import Live, Motion, rows_of

IDLE = 60.0  # seconds of idle motion, played back and forth
BEFORE, AFTER = 4, 4  # frames whose features a method hears of each: [i - 4, i + 4)


def live_of(trained: FittedRun, driver: Driver, motion: Callable[[DrivingSignal], Motion]) -> Live | None:
    """None where the driver has no live form.

    Raises:
        UserError: the driver has one, but not as it was trained.
    """
    if driver.stream(Prompt()) is None:
        return None
    fps, hears = driver.card.fps, _hears(trained, motion)
    frames = round(IDLE * fps)
    pose, _ = idle_motion(trained.data, trained.body, frames, 0)
    ahead = (AFTER - 1) / fps + LogMelStream(fps).lookahead if hears else 0.0
    return Live(fps, max(driver.lookahead, ahead), partial(RunVoice, driver, pose, motion, hears))


def _hears(trained: FittedRun, motion: Callable[[DrivingSignal], Motion]) -> bool:
    """Whether sound itself moves it, beside what a driver makes of the sound: seen in one frame."""
    signal = trained.data.signal(trained.data.capture.test_frames[:1])
    return not np.array_equal(motion(signal).residual, motion(replace(signal, audio=None)).residual)


class RunVoice:
    """Rows of a motion as soon as the driver, and what the method itself hears, are certain of them."""

    def __init__(
        self, driver: Driver, idle: BodyPose, motion: Callable[[DrivingSignal], Motion], hears: bool, first: int
    ) -> None:
        """
        Args:
            hears: whether the method is driven by sound itself.
            first: number of the first frame in the idle motion.
        """
        torch.set_num_threads(1)  # of this thread
        self.space, self.idle, self.motion = driver.space, idle, motion
        stream = driver.stream(Prompt())
        assert stream is not None, "a driver without a live form"
        self.stream: DriverStream = stream
        self.windows = Windows(driver.card.fps) if hears else None
        self.waiting = torch.zeros(0, len(driver.space.names))
        self.number = first

    @torch.no_grad()
    def push(self, samples: Float[ndarray, " N"]) -> Float[ndarray, "n D"]:
        """The next samples, 16 kHz mono; rows of the frames that they make certain."""
        self.waiting = torch.cat([self.waiting, self.stream.push(samples)])
        count, audio = len(self.waiting), None
        if self.windows is not None:
            self.windows.push(samples)
            count = min(count, self.windows.ready)
            audio = self.windows.take(count) if count else None
        if count == 0:
            return np.zeros((0, 0), np.float32)
        values, self.waiting = self.waiting[:count], self.waiting[count:]
        numbers = np.arange(self.number, self.number + count)
        self.number += count
        return self.rows(numbers, values, audio)

    def rows(
        self, numbers: Int[ndarray, " n"], values: Float[Tensor, "n P"], audio: Float[Tensor, "n 8 16 C"] | None
    ) -> Float[ndarray, "n D"]:
        """What moves the avatar in these frames."""
        last = len(self.idle) - 1
        pose = self.idle[torch.from_numpy(last - np.abs(numbers % (2 * last) - last))]
        signal = DrivingSignal(torch.full((len(numbers),), -1), pose, audio)
        return rows_of(self.motion(self.space.write(signal, values)))


class Windows:
    """What a method hears of each frame, as `audio.features.attention_windows`, of sound that comes in chunks."""

    def __init__(self, fps: float) -> None:
        self.sound = LogMelStream(fps)
        self.features = torch.zeros(0, 16, 44)
        self.primed = False

    @property
    def ready(self) -> int:
        """Frames of which all is known."""
        return max(0, len(self.features) - (BEFORE + AFTER - 1))

    def push(self, samples: Float[ndarray, " N"]) -> None:
        come = torch.from_numpy(self.sound.push(samples))
        if not self.primed:  # nothing is before the first frame
            self.features, self.primed = come.new_zeros(BEFORE, *come.shape[1:]), True
        self.features = torch.cat([self.features, come])

    def take(self, count: int) -> Float[Tensor, "n 8 16 C"]:
        """Of the next frames, one to `ready`."""
        taken = self.features[: count + BEFORE + AFTER - 1]
        self.features = self.features[count:]
        return taken.unfold(0, BEFORE + AFTER, 1).permute(0, 3, 1, 2)
