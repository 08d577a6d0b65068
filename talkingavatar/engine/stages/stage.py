"""What a run trains, part by part: avatars, drivers, and what is fitted once and used by others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import lightning as L

from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.measuring.fit_results import Results
from talkingavatar.engine.run.directory import RunDirectory

Built = TypeVar("Built", bound="Stage")


@dataclass(frozen=True)
class Conclusion:
    """What a finished fit has to show; `table` holds a dict a row, its first column is "held-out"."""

    results: Results
    table: list[dict[str, Any]]
    media: list[Path]


@dataclass(frozen=True)
class StageContext:
    """What a stage is built from, the same in every start of a run."""

    name: str
    config: FitConfig  # as the stage sees it: its own sections, its own steps (`config.stages.seen_by`)
    before: dict[str, Stage]  # by name, fitted

    def last(self, kind: type[Built]) -> Built | None:
        """The last of those before it that are of a class."""
        return next((stage for stage in reversed(self.before.values()) if isinstance(stage, kind)), None)


class Stage(ABC):
    """A module with its data, and what the run has to know of it besides the steps Lightning runs.

    A subclass is built from its context alone and raises `UserError` for what it cannot use.
    """

    module: L.LightningModule
    data: L.LightningDataModule  # its training loader is keyed by seed and step (`data.sampler.StepLoader`)

    def __init__(self, context: StageContext) -> None:
        self.name, self.config = context.name, context.config
        self.steps = context.config.budget.steps

    @classmethod
    @abstractmethod
    def check(cls, config: FitConfig) -> None:
        """Refuse at once what would be refused when the data is made or the stage is trained, minutes later.

        Args:
            config: as the stage sees it.

        Raises:
            UserError: a mistake in what it is told.
        """

    @abstractmethod
    def scalars(self) -> dict[str, float]:
        """Of the last step, for the journal; to read them may wait for a GPU."""

    @abstractmethod
    def rates(self, step: int) -> dict[str, float]:
        """Learning rate of each parameter group at a step."""

    @abstractmethod
    def preview(self) -> tuple[dict[str, float], str]:
        """A live held-out reading: scalars, and a note for the progress bar. Leaves the training as it was."""

    @abstractmethod
    def conclude(self, run: RunDirectory, check: Callable[[], None]) -> Conclusion:
        """Measure what was trained and write what it leaves in the run directory; `check` may raise to stop."""


def conclude(stages: list[Stage], run: RunDirectory, check: Callable[[], None]) -> Conclusion:
    """All stages' conclusions in one; the table is the first stage's."""
    parts = [stage.conclude(run, check) for stage in stages]
    results = Results()
    for part in parts:
        results.add(part.results)
    return Conclusion(results, parts[0].table, [file for part in parts for file in part.media])
