"""A fitted avatar speaks what comes through a pipe, into an mp4 or another pipe."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import torch

from talkingavatar.audio.incoming import Block, Incoming
from talkingavatar.data.prompts.ask import Asked
from talkingavatar.drivers.unit_edit import UnitEdit
from talkingavatar.engine.fitted import FittedRun, load_run
from talkingavatar.engine.media.stream import StreamWriter
from talkingavatar.engine.performing.editing import OpenedEdit, named_face, open_edit
from talkingavatar.engine.performing.fast import Fast
from talkingavatar.engine.performing.perform import PIPE, DriveConfig, Painter, background_of, video_file
from talkingavatar.engine.performing.performance import Request
from talkingavatar.engine.performing.speech import Speech, speaker_of
from talkingavatar.errors import UserError
from talkingavatar.types import DrivingSignal

BEHIND = 0.2  # seconds of sound that have come beyond what a frame waits for, from which it is late
WAITING = 500  # blocks of sound; a pipe that is filled faster waits


@dataclass
class Told:
    """What came of it."""

    seconds: float = 0.0  # of sound
    frames: int = 0
    late: int = 0  # of them, left out


def drive_live(config: DriveConfig, source: BufferedReader, told: Told) -> None:
    """Speak until the sound ends, nobody reads any more, or the work is interrupted.

    Args:
        told: counts while it works.

    Raises:
        UserError: a mistake in what was given, or the run's driver has no live form.
    """
    refuse(config)
    edit, incoming = open_edit(config.request.edit), Incoming(source)
    pipe = _piped() if config.out == PIPE else nullcontext()
    with suppress(BrokenPipeError), pipe as descriptor:
        trained = load_run(config.run)
        if edit is not None:
            named_face(trained.body)
        show = Show(config, trained, edit)
        target = video_file(config.out, ["live"], trained) if descriptor is None else descriptor
        with StreamWriter(target, show.fps, *show.size) as writer, suppress(KeyboardInterrupt):
            show.run(incoming, writer, told)


def refuse(config: DriveConfig) -> None:
    """
    Raises:
        UserError: it asks for what only a whole sound has.
    """
    given, plain = config.request, Request()
    for name in ("motion", "start", "stop", "samples"):
        if getattr(given, name) != getattr(plain, name):
            action = "leave it out, or give a file"
            raise UserError(name, str(getattr(given, name)), "nothing: the sound comes through a pipe", action)
    if isinstance(given.edit.au, Path):
        raise UserError("au", str(given.edit.au), "units and times", "write them: AU12=2 at 3s")


class Show:
    """All that makes pictures of sound."""

    def __init__(self, config: DriveConfig, trained: FittedRun, edit: OpenedEdit | None) -> None:
        """
        Raises:
            UserError: the run's driver has no live form, or the background is none.
        """
        request = config.request
        self.speaker, self.method = speaker_of(trained, request.seed), trained.method
        self.controls, self.body, self.live = request.controls, trained.body, config.live
        self.fps = self.speaker.fps
        asked = None if edit is None else Asked(self.fps, edit.asks, edit.rule == "published")
        change = None if edit is None or asked is None else UnitEdit(asked, edit.rule)
        self.speech: Speech = self.speaker.speech(0, request.prompt, change)
        self.cameras = trained.data.capture.cameras([self.speaker.camera])
        self.size = self.cameras.width, self.cameras.height
        self.painter = Painter(trained, self.cameras, background_of(config.background, trained))
        self.fast = Fast(trained) if config.fast else None
        if self.fast is not None:
            self.fast.likeness(trained.data.signal(trained.data.capture.test_frames), self.cameras)

    def run(self, incoming: Incoming, writer: StreamWriter, told: Told) -> None:
        """Block by block."""
        for block in _in_time(incoming) if self.live else incoming:
            told.seconds = incoming.seconds
            writer.hear(block.played)
            self._draw(self.speech.push(block.heard), incoming, writer, told)
        self._draw(self.speech.finish(), incoming, writer, told)

    @torch.no_grad()
    def _draw(self, signal: DrivingSignal | None, incoming: Incoming, writer: StreamWriter, told: Told) -> None:
        for row in range(0 if signal is None else len(signal)):
            assert signal is not None
            number, told.frames = told.frames, told.frames + 1
            if self.live and incoming.seconds - number / self.fps > self.speaker.lookahead + BEHIND:
                told.late += 1
                continue
            moved = self.controls.applied(signal[row : row + 1], self.body, self.cameras).to(self.method.device)
            gaussians = self.method.drive(moved) if self.fast is None else next(self.fast.frames(moved))
            writer.show(number, self.painter(gaussians))


def _in_time(incoming: Incoming) -> Iterator[Block]:
    """The same blocks; what comes is counted when it comes, whatever is done with others meanwhile."""
    waiting: queue.Queue[Block | BaseException | None] = queue.Queue(WAITING)

    def read() -> None:
        try:
            for block in incoming:
                waiting.put(block)
            waiting.put(None)
        except BaseException as error:  # raised where it is waited for
            waiting.put(error)

    threading.Thread(target=read, name="sound", daemon=True).start()
    while (come := waiting.get()) is not None:
        if isinstance(come, BaseException):
            raise come
        yield come


@contextmanager
def _piped() -> Iterator[int]:
    """Standard output for the stream alone: what else is printed meanwhile goes where errors go.

    Raises:
        UserError: it is a screen.
    """
    if sys.stdout.isatty():
        raise UserError("out", "a screen", "a pipe, or a file", "put | ffplay - behind it, or give out=film.mp4")
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        yield own
    finally:
        os.dup2(own, 1)
        os.close(own)
