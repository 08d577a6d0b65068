"""What an avatar is driven by while it speaks as it hears: its driver's live form, beside idle motion of the body."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.features import RATE
from talkingavatar.audio.stream import LogMelStream
from talkingavatar.body.models import Body
from talkingavatar.drivers.driver import Driver, DriverStream, Prompt
from talkingavatar.drivers.unit_edit import UnitEdit
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.performing.editing import with_edit
from talkingavatar.engine.performing.performance import idle_motion
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose, DrivingSignal

IDLE = 60.0  # seconds of idle motion, played back and forth
BEFORE, AFTER = 4, 4  # frames whose features a method hears of each: [i - 4, i + 4)


@dataclass(frozen=True)
class Speaker:
    """Who speaks as it hears."""

    driver: Driver
    body: Body
    idle: BodyPose
    hears: bool  # whether sound itself moves it, beside what the driver makes of the sound
    camera: int = 0  # frame of the capture whose camera sees it

    @property
    def fps(self) -> float:
        return self.driver.card.fps

    @property
    def lookahead(self) -> float:
        """Seconds of sound after a frame that it waits for."""
        ahead = (AFTER - 1) / self.fps + LogMelStream(self.fps).lookahead if self.hears else 0.0
        return max(self.driver.lookahead, ahead)

    def speech(self, first: int = 0, prompt: Prompt | None = None, edit: UnitEdit | None = None) -> Speech:
        """From its silence on; `first` is the number of the first frame in the idle motion."""
        return Speech(self, first, prompt or Prompt(), edit)


def speaker_of(trained: FittedRun, seed: int = 0) -> Speaker:
    """
    Args:
        seed: of the idle motion's order.

    Raises:
        UserError: its driver has no live form.
    """
    driver = trained.driver
    if driver is None or driver.stream(Prompt()) is None:
        found = "a run whose mouth hears the whole sound first"
        raise UserError("run", found, "a driver that speaks live", "fit with stages=[avatar,driver]")
    idle, camera = idle_motion(trained.data, trained.body, round(IDLE * driver.card.fps), seed)
    return Speaker(driver, trained.body, idle, _hears(trained), camera)


@torch.no_grad()
def _hears(trained: FittedRun) -> bool:
    """Whether sound itself moves it, beside what a driver makes of the sound: seen in one frame.

    Raises:
        UserError: it does, by features that are not made as sound comes.
    """
    method, audio = trained.method, trained.data.config.audio
    signal = trained.data.signal(trained.data.capture.test_frames[:1]).to(method.device)
    heard, unheard = method.drive(signal), method.drive(replace(signal, audio=None))
    found = (getattr(heard, f.name) for f in fields(heard)), (getattr(unheard, f.name) for f in fields(heard))
    pairs = [pair for pair in zip(*found, strict=True) if isinstance(pair[0], Tensor)]
    hears = not all(torch.equal(*pair) for pair in pairs)
    if hears and audio.name != "logmel":
        raise UserError("audio.name", audio.name, "logmel, which can be made as sound comes", "fit with audio=logmel")
    return hears


class Speech:
    """Driving signals as soon as the driver, and what the method itself hears, are certain of them."""

    def __init__(self, speaker: Speaker, first: int, prompt: Prompt, edit: UnitEdit | None) -> None:
        """
        Args:
            edit: of the face; what it asks may change meanwhile.
        """
        self.speaker, self.edit, driver = speaker, edit, speaker.driver
        self.windows = Windows(speaker.fps) if speaker.hears else None
        prompts = [prompt]
        if edit is not None and "edit" in driver.takes:
            prompts.append(replace(prompt, edit=edit))
        self.streams = [_stream(driver, each) for each in prompts]
        self.waiting = torch.zeros(len(prompts), 0, len(driver.space.names))
        self.first, self.given, self.samples = first, 0, 0

    @torch.no_grad()
    def push(self, samples: Float[ndarray, " N"]) -> DrivingSignal | None:
        """The next samples, 16 kHz mono; the frames that they make certain, None where there is none yet."""
        self.samples += len(samples)
        self.waiting = torch.cat([self.waiting, torch.stack([each.push(samples) for each in self.streams])], 1)
        count, audio = self.waiting.shape[1], None
        if self.windows is not None:
            self.windows.push(samples)
            count = min(count, self.windows.ready)
            audio = self.windows.take(count) if count else None
        if count == 0:
            return None
        values, self.waiting = self.waiting[:, :count], self.waiting[:, count:]
        return self._signal(values, audio)

    def finish(self) -> DrivingSignal | None:
        """The rest, silence after the sound's end."""
        fps = self.speaker.fps
        left = round(self.samples / RATE * fps) - self.given
        rest = self.push(np.zeros(round((self.speaker.lookahead + 2 / fps) * RATE), np.float32))
        return None if rest is None or left < 1 else rest[:left]

    def _signal(self, values: Float[Tensor, "k n P"], audio: Float[Tensor, "n 8 16 C"] | None) -> DrivingSignal:
        idle, count, given = self.speaker.idle, values.shape[1], self.given
        last, numbers = len(idle) - 1, torch.arange(self.first + given, self.first + given + count)
        pose = idle[last - (numbers % (2 * last) - last).abs()]
        signal = DrivingSignal(torch.full((count,), -1), pose, audio)
        self.given += count
        spoken, *edited = (self.speaker.driver.space.write(signal, each) for each in values)
        if self.edit is None:
            return spoken
        return with_edit(spoken, edited[0] if edited else None, self.speaker.body, self.edit, given)


def _stream(driver: Driver, prompt: Prompt) -> DriverStream:
    stream = driver.stream(prompt)
    assert stream is not None, "a driver without a live form"
    return stream


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
