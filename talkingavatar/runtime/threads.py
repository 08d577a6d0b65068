"""Work shared out over threads. What comes out, and its order, does not depend on how many there are."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = max(2, min(8, os.cpu_count() or 2))
AHEAD = 2  # pieces of work a thread may be in advance of who uses them


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int = WORKERS,
    ahead: int | None = None,
    begin: Callable[[], None] | None = None,
) -> Generator[Result, None, None]:
    """`map`, by several threads, at most `ahead` items in advance; an error comes up where its result would.

    Args:
        begin: what each thread does first.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, initializer=begin)
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
