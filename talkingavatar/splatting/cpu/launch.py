"""Compile kernels and spread them over threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from talkingavatar.runtime.compiled import compiled

# No "nnan"/"ninf": culling relies on comparisons with values that are not numbers being false.
FAST = {"reassoc", "nsz", "arcp", "contract", "afn"}

_threads: int | None = None
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first use and keep the machine code on disk.

    Plain threads rather than numba's own: half the compile time, and safe to call from several threads. Kernels of
    other packages may call those beside this file.
    """
    return compiled(function, beside=Path(__file__).parent, fastmath=FAST, error_model="numpy")


def set_threads(threads: int | None) -> None:
    """How many threads rasterise; None, as many as torch uses. The pictures are the same for any number."""
    global _threads
    _threads = threads


def spread(function: Callable[..., None], *args: Any, shares: int = 4) -> None:
    """Run `function(part, parts, *args)` for every part; its result must not depend on their number.

    Each thread takes the next of about `shares` parts per thread, so that none waits long for a slower one.
    """
    threads = _threads or torch.get_num_threads()
    parts = threads * shares if threads > 1 else 1
    left = iter(range(parts))

    def work() -> None:
        for part in left:
            function(part, parts, *args)

    others = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        # On a busy machine a thread may not have woken by the time all is done: nothing to wait for.
        if not other.cancel():
            other.result()


def _pool(workers: int) -> ThreadPoolExecutor:
    """One pool per process: threads do not survive a fork."""
    key = (os.getpid(), workers)
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(workers, thread_name_prefix="rasterise")
    return _pools[key]
