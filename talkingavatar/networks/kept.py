"""What does not change from frame to frame, computed once: an avatar that is driven learns nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """A value of some tensors, made again when one of them has changed, and always while one of them is learned."""

    def __init__(self) -> None:
        self._of: tuple[Tensor, ...] = ()
        self._versions: tuple[int, ...] = ()

    def get(self, make: Callable[[], Value], *of: Tensor, graph: bool = True) -> Value:
        """`make()`, or what it gave for these very tensors before; without a `graph` no gradient goes through it."""
        if graph and (torch.is_grad_enabled() or any(tensor.requires_grad for tensor in of)):
            return make()
        versions = tuple(tensor._version for tensor in of)
        same = len(of) == len(self._of) and all(a is b for a, b in zip(of, self._of, strict=True))
        if not same or versions != self._versions:
            self._value = make()
            self._of, self._versions = of, versions
        return self._value


class Chosen:
    """Numbers of the rows that a mask chooses, kept while they are asked for under the same key.

    How many there are decides shapes: the host waits for a GPU to count them.
    """

    def __init__(self) -> None:
        self._of: Tensor | None = None
        self._key: object = None

    def get(self, mask: Callable[[], Bool[Tensor, " N"]], of: Tensor, key: object = 0) -> Int[Tensor, " n"]:
        """Those of `mask()`, or those found before for this very tensor under this key."""
        if of is not self._of or key != self._key:
            self._rows = mask().nonzero()[:, 0]
            self._of, self._key = of, key
        return self._rows
