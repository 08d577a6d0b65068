"""What the end of a fit has measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MeasuredCondition:
    """What was measured under one condition, under the keys of `evaluate`: it stands in for what that did not do."""

    condition: str
    frames: list[int]
    metrics: dict[str, float]
    skipped: dict[str, str]


@dataclass
class Results:
    """`metrics` by key, e.g. `heldout/head/psnr`; `skipped` says why a number is not there."""

    metrics: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, Any] = field(default_factory=dict)
    conditions: list[MeasuredCondition] = field(default_factory=list)

    def add(self, other: Results) -> None:
        """Take another stage's."""
        self.metrics |= other.metrics
        self.skipped |= other.skipped
        self.definitions |= other.definitions
        self.conditions += other.conditions
