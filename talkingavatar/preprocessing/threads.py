"""Work shared out over threads. What comes out, and its order, does not depend on how many there are."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = max(2, min(8, os.cpu_count() or 2))
AHEAD = 2  # pieces of work a thread may be in advance of who uses them


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int = WORKERS, ahead: int | None = None
) -> Iterator[Result]:
    """`map`, by several threads, at most `ahead` items in advance; an error comes up where its result would."""
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > (AHEAD * workers if ahead is None else ahead):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def made_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, made by another thread while earlier ones are used."""
    stream, end = iter(items), object()

    def following(_: int) -> object:
        return next(stream, end)

    for item in in_order(following, iter(int, 1), workers=1):
        if item is end:
            return
        yield cast("Item", item)


Progress = Callable[[str, int], Callable[[], None]]


class Stopped(Exception):
    """Raised in work that nobody waits for any more."""


class Beside:
    """Work that goes on in a thread of its own; its progress is shown once somebody waits for it, at the latest at its end.

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
