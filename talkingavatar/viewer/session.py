"""One listener of a live avatar: sound in, the newest frames out, nothing ever queued up.

The driver runs in a thread of its own; the event loop only moves bytes. What comes too late, sound that could not be
heard in time and frames that were not fetched in time, is left out and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.data.prompts.ask import Ask, Asked
from talkingavatar.viewer.shown import Live, Voice
from talkingavatar.viewer.wire import LATE, Kind, Message

RATE = 16_000  # Hz
WAITING = 3  # messages that wait to be fetched; a driver that draws windows has a window's frames in one
BEHIND = 1.0  # seconds of sound that wait to be heard beside the look-ahead, beyond which the voice begins anew
APART = 0.005  # seconds between the end of one block and the start of the next, beyond which sound is missing


@dataclass
class Counts:
    """What happened so far."""

    samples: int = 0  # that came
    frames: int = 0  # that were made
    messages: int = 0  # of them
    late: int = 0  # frames left out
    unheard: int = 0  # samples left out
    starts: int = 0  # of a voice


class Session:
    """Use it as a context: its thread ends with it."""

    def __init__(self, live: Live, ready: Callable[[], None]) -> None:
        """
        Args:
            ready: called by the thread when there is something to fetch, or when it has failed.
        """
        self.live, self.ready, self.counts = live, ready, Counts()
        self.asked = Asked(live.fps)  # of the face
        self.failure: BaseException | None = None
        self._change = threading.Condition()
        self._blocks: deque[Message] = deque()
        self._frames: deque[Message] = deque()
        self._open, self._heard = True, 0.0
        self._thread = threading.Thread(target=self._run, name="voice", daemon=True)

    def __enter__(self) -> Session:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._change:
            self._open = False
            self._change.notify()
        self._thread.join()

    def hear(self, block: Message) -> None:
        """The next sound."""
        with self._change:
            self.counts.samples += len(block.values)
            self._heard = block.time + len(block.values) / RATE
            self._blocks.append(block)
            if sum(len(waiting.values) for waiting in self._blocks) > (BEHIND + self.live.lookahead) * RATE:
                while len(self._blocks) > 1:
                    self.counts.unheard += len(self._blocks.popleft().values)
            self._change.notify()

    def ask(self, asks: Sequence[Ask]) -> None:
        """Of the face, in place of all before; their times count from the newest sound."""
        with self._change:
            now = self._heard
        self.asked.asks = [replace(ask, start=ask.start + now, stop=ask.stop + now) for ask in asks]

    def fetch(self) -> list[Message]:
        """What waits, at most `WAITING` messages."""
        with self._change:
            fetched = list(self._frames)
            self._frames.clear()
        return fetched

    def _run(self) -> None:
        try:
            self._speak()
        except BaseException as error:  # told to who fetches
            self.failure = error
        self.ready()

    def _speak(self) -> None:
        voice: Voice | None = None
        begun, heard, made = 0.0, 0, 0
        while (blocks := self._next()) is not None:
            for samples, time in _joined(blocks):
                if voice is None or abs(begun + heard / RATE - time) > APART:
                    begun, heard, made = time, 0, 0
                    voice = self._voice(round(time * self.live.fps))
                    self.counts.starts += 1
                heard += len(samples)
                rows = voice.push(samples)
                self._give(rows, begun + made / self.live.fps)
                made += len(rows)

    def _voice(self, first: int) -> Voice:
        if self.live.prompted is None:
            return self.live.voice(first)
        self.asked.origin = first
        return self.live.prompted(first, self.asked)

    def _next(self) -> list[Message] | None:
        """All sound that waits; None at the end."""
        with self._change:
            self._change.wait_for(lambda: self._blocks or not self._open)
            blocks = list(self._blocks)
            self._blocks.clear()
            return blocks if self._open else None

    def _give(self, rows: Float[ndarray, "n D"], time: float) -> None:
        """One message of frames that were made together."""
        if not len(rows):
            return
        with self._change:
            late = len(self._frames) == WAITING
            if late:
                self.counts.late += len(self._frames.popleft().values)
            self._frames.append(Message(Kind.FRAMES, LATE * late, self.counts.messages, time, rows))
            self.counts.frames += len(rows)
            self.counts.messages += 1
        self.ready()


def _joined(blocks: list[Message]) -> list[tuple[Float[ndarray, " N"], float]]:
    """Sound and its time, blocks that follow each other in one."""
    joined: list[tuple[list[Message], float]] = []
    end = 0.0
    for block in blocks:
        if not joined or abs(block.time - end) > APART:
            joined.append(([], block.time))
        joined[-1][0].append(block)
        end = block.time + len(block.values) / RATE
    return [(np.concatenate([block.values for block in part]), time) for part, time in joined]
