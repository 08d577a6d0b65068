"""Work beside other work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Progress = Callable[[str, int], Callable[[], None]]


class Stopped(Exception):
    """Raised in work that nobody waits for any more."""


class Beside:
    """Work that goes on in a thread of its own; its progress is shown once somebody waits for it.

    Used as a context: who leaves it by an error stops the work.
    """

    def __init__(self, work: Callable[[Progress], None], progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.RLock()
        self._title, self._total, self._left = "", 0, 0
        self._waited_for = self._stopped = False
        self._shown: Callable[[], None] | None = None
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(work, self._begin)

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped = True
        self._pool.shutdown()

    def wait(self) -> None:
        """Until the work is done; raises what it raised."""
        with self._lock:
            self._waited_for = True
            if self._left:
                self._show()
        self._future.result()
        if self._shown is None and self._title:
            advance = self._progress(self._title, self._total)
            for _ in range(self._total):
                advance()

    def watched(self, title: str, total: int) -> Callable[[], None]:
        """Progress of what is done meanwhile; raises what the work beside it raised."""
        advance = self._progress(title, total)

        def tick() -> None:
            advance()
            if self._future.done():
                self._future.result()

        return tick

    def _begin(self, title: str, total: int) -> Callable[[], None]:
        with self._lock:
            self._title, self._total, self._left = title, total, total
            if self._waited_for:
                self._show()
        return self._advance

    def _show(self) -> None:
        self._shown = self._progress(self._title, self._left)  # what is left, so that the time left is true

    def _advance(self) -> None:
        if self._stopped:
            raise Stopped
        with self._lock:
            self._left -= 1
            if self._shown is not None:
                self._shown()
