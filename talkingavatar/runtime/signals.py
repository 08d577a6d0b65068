"""Warning signals: the handler only sets a flag, the loop saves at the end of the step."""

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

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = number


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """A flag for the length of a command."""
    flag = StopFlag()
    flag.install()
    try:
        yield flag
    finally:
        flag.restore()
