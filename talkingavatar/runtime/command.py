"""How a command ends: with an exit code, and one line of what was wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable

from talkingavatar.errors import UserError
from talkingavatar.runtime.disk import told_in_a_line


def warn(message: str) -> None:
    """A line that the work goes on after."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def ended(command: Callable[[], int]) -> int:
    """The exit code of a command: its own, 2 for a mistake in what was given, 75 for a disk without room."""
    try:
        with told_in_a_line():
            return command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
