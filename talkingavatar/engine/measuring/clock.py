"""Seconds by part: a clock that always runs for exactly one part of a program."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

REST = "rest"  # what no part claims


class Clock:
    """Adds up `seconds` by part; a CUDA device is waited for at each change of part."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._part, self._since, self._held = REST, time.perf_counter(), False
        self._originals: list[tuple[Any, str, Any]] = []

    def reset(self) -> None:
        """Forget what was counted, the time since the last change of part included."""
        self._since = self._now()
        self.seconds.clear()

    def switch(self, part: str) -> str:
        """Count for another part from now on; returns the one counted for so far."""
        if self._held:
            return part
        now = self._now()
        self.seconds[self._part] += now - self._since
        before, self._part, self._since = self._part, part, now
        return before

    @contextmanager
    def part(self, name: str, whole: bool = False) -> Iterator[None]:
        """Count for `name` inside; `whole`: and for nothing else, whatever parts are entered there."""
        before, held = self.switch(name), self._held
        self._held = held or whole
        try:
            yield
        finally:
            self._held = held
            self.switch(before)

    def time(self, owner: Any, method: str, part: str, whole: bool = False) -> None:
        """Count what `owner.method` takes for a part, until `release`."""
        original = getattr(owner, method)
        self._originals.append((owner, method, original))

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(part, whole):
                return original(*args, **kwargs)

        setattr(owner, method, timed)

    def release(self) -> None:
        """Give all owners their methods back."""
        for owner, method, original in reversed(self._originals):
            setattr(owner, method, original)
        self._originals.clear()

    def mark(self, part: str, *tensors: Tensor | None) -> list[Tensor | None]:
        """The same tensors; when the backward pass comes by here, the clock switches to `part`."""
        given = [t for t in tensors if t is not None]
        marked = iter(cast("tuple[Tensor, ...]", _Mark.apply(self, part, *given)))
        return [None if t is None else next(marked) for t in tensors]

    def _now(self) -> float:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()


class _Mark(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clock: Clock, part: str, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.switch = lambda: clock.switch(part)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        cast("Callable[[], str]", ctx.switch)()
        return (None, None, *gradients)


def table(seconds: Mapping[str, float], parts: tuple[str, ...], count: int, unit: str) -> list[dict[str, Any]]:
    """A row a part in milliseconds and as a share of all, the whole last."""
    total = sum(seconds.values())
    rows = [_row(part, seconds.get(part, 0.0), total, count, unit) for part in parts]
    return [*rows, _row("all", total, total, count, unit)]


def _row(part: str, seconds: float, total: float, count: int, unit: str) -> dict[str, Any]:
    return {"part": part, f"ms a {unit}": 1e3 * seconds / count, "share": seconds / total}
