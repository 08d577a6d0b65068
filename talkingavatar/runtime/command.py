"""How a command ends: with an exit code, and one line of what was wrong."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from talkingavatar.errors import UserError
from talkingavatar.runtime.disk import told_in_a_line


def warn(message: str) -> None:
    """A line that the work goes on after."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


@contextmanager
def lasting() -> Iterator[None]:
    """What is made meanwhile, such as modules, lasts as long as the process: the collector never looks through it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def ended(command: Callable[[], int]) -> int:
    """The exit code of a command: its own, 2 for a mistake in what was given, 75 for a disk without room."""
    try:
        with told_in_a_line():
            return command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
