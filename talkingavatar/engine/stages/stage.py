"""What a run trains: an avatar, or something else that is fitted once and used by others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L

from talkingavatar.config.compose import suggestion
from talkingavatar.engine.measuring.fit_results import Results
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.errors import UserError
from talkingavatar.methods import METHODS

OTHERS = ("syncnet",)  # methods (`method.name`) that are no avatars


@dataclass(frozen=True)
class Conclusion:
    """What a finished fit has to show; `table` holds a dict a row, its first column is "held-out"."""

    results: Results
    table: list[dict[str, Any]]
    media: list[Path]


class Stage(ABC):
    """A module with its data, and what the run has to know of it besides the steps Lightning runs.

    A subclass is built from the configuration alone, so that it is the same in every start of a run, and raises
    `UserError` for what it cannot use.
    """

    file: str = "last.ckpt"  # its checkpoint in the run directory
    module: L.LightningModule
    data: L.LightningDataModule  # its training loader is keyed by seed and step (`data.sampler.StepLoader`)
    steps: int  # optimisation steps of the whole run

    @abstractmethod
    def scalars(self) -> dict[str, float]:
        """Of the last step, for the journal."""

    @abstractmethod
    def rates(self, step: int) -> dict[str, float]:
        """Learning rate of each parameter group at a step."""

    @abstractmethod
    def preview(self) -> tuple[dict[str, float], str]:
        """A live held-out reading: scalars, and a note for the progress bar. Leaves the training as it was."""

    @abstractmethod
    def conclude(self, run: RunDirectory, check: Callable[[], None]) -> Conclusion:
        """Measure what was trained and write what it leaves in the run directory; `check` may raise to stop."""


def trains_avatar(name: str) -> bool:
    """Whether the method of this name is an avatar's.

    Raises:
        UserError: there is no such method.
    """
    if name not in METHODS and name not in OTHERS:
        known = (*METHODS, *OTHERS)
        raise UserError("method.name", repr(name), f"one of {', '.join(known)}", suggestion(name, known))
    return name not in OTHERS


def conclude(stages: list[Stage], run: RunDirectory, check: Callable[[], None]) -> Conclusion:
    """All stages' conclusions in one; the table is the first stage's."""
    parts = [stage.conclude(run, check) for stage in stages]
    results = Results()
    for part in parts:
        results.add(part.results)
    return Conclusion(results, parts[0].table, [file for part in parts for file in part.media])
