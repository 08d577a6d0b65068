"""How a command ends: with an exit code, and one line of what was wrong."""

from __future__ import annotations

import gc
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from talkingavatar.errors import UserError
from talkingavatar.runtime.disk import told_in_a_line

STDOUT = 1  # its number in every process


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


def tell(text: str) -> int:
    """Print what was asked for; the exit code."""
    print(text)
    return 0


def ended(command: Callable[[], int]) -> int:
    """The exit code of a command.

    Its own, 2 for a mistake in what was given, 75 for a disk without room, and 141 where nobody reads any more what it
    prints, as if the signal had ended it.
    """
    try:
        with told_in_a_line():
            code = command()
            sys.stdout.flush()
            return code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        if not _unread():
            raise
        return 141


def _unread() -> bool:
    """Whether nobody reads what is printed; from then on it goes nowhere, what is printed at the very end included."""
    printed = select.poll()
    printed.register(STDOUT, 0)
    if gone := any(event & (select.POLLERR | select.POLLHUP) for _, event in printed.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return gone
