"""Warning signals: the handler only sets a flag, the loop saves at the end of the step.

Where there is no loop and nothing to save, while data is made, the first one ends the work where it stands.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)


class Preempted(Exception):
    """The run was asked to stop; everything worth keeping is saved."""


class StopFlag:
    """Whether a warning signal has come, and which."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.at_once = False
        self.previous: dict[int, Any] = {}

    def install(self) -> None:
        """Take the signals, also from who took them after the last time (Lightning does at the start of a fit)."""
        for number in WARNINGS:
            current = signal.getsignal(number)
            if current != self._on_signal:
                self.previous.setdefault(number, current)
                signal.signal(number, self._on_signal)

    def restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """
        Raises:
            Preempted: a warning has come.
        """
        if self.signal is not None:
            raise Preempted(signal.Signals(self.signal).name)

    @contextmanager
    def stopping_at_once(self) -> Iterator[None]:
        """Work that may end anywhere: what it makes appears whole or not at all.

        Raises:
            Preempted: a warning has come, or comes meanwhile.
        """
        self.install()
        self.check()
        self.at_once = True
        try:
            yield
        finally:
            self.at_once = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        first, self.signal = self.signal is None, number
        if first and self.at_once:  # another, while that unwinds, would leave what it cleans away
            self.check()


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """A flag for the length of a command."""
    flag = StopFlag()
    flag.install()
    try:
        yield flag
    finally:
        flag.restore()
