"""Numba's compiler with its machine code kept on disk, and made anew whenever it must be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any], beside: Path | None = None, **options: Any) -> Any:
    """Compile on first use, without the interpreter's lock; what it calls must lie in its own folder or in `beside`.

    Numba looks at the function's own file alone to tell whether the kept code is out of date, which also holds what it
    calls: an upgrade of a neighbouring file would go unnoticed.

    What calls it takes it in. Else the process that compiles would run one machine code of a function that several
    call, all later ones another, each caller's own copy, whose sums may be in another order: a run's first start and
    its next would differ in the last bit.

    It looks at no bounds, and what lies beyond an array is read without a word. Whoever changes a kernel runs its tests
    once with `NUMBA_BOUNDSCHECK=1` and a `NUMBA_CACHE_DIR` of its own.
    """
    made: Any = njit(function, cache=True, nogil=True, forceinline=True, **options)
    kept = made._cache._cache_file
    flags = [f"{name}={sorted(value) if isinstance(value, set) else value}" for name, value in sorted(options.items())]
    folders = {Path(function.__code__.co_filename).parent, *([] if beside is None else [beside])}
    kept._source_stamp = (kept._source_stamp, *(_sources(folder) for folder in sorted(folders)), flags)
    return made


@cache
def _sources(folder: Path) -> str:
    """A digest of all Python files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
