"""Evaluation as data: driving conditions and the tables they fill, read from `conf/evaluate/`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import filter as matching
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.config.compose import suggestion
from talkingavatar.config.listing import config_dirs, family_of, group_options
from talkingavatar.config.schema import INPUTS
from talkingavatar.errors import UserError

BEST = ("high", "low", "none")


@dataclass
class Condition:
    """How a run is driven while it is measured."""

    about: str = ""
    silence: list[str] = field(default_factory=list)  # inputs withheld at test time (config.schema.INPUTS)
    spoken: bool = False  # what the run's driver foretells from sound takes the place of what was tracked
    align: bool = False  # align the body's pose to each picture first


@dataclass
class Column:
    """One number of every row."""

    title: str
    key: str  # of a result's metrics
    digits: int = 2
    scale: float = 1.0  # LPIPS stands x 100 in the papers
    best: str = "high"  # high | low | none: which value is set in bold


@dataclass
class Row:
    """Which results fill a row: those of an experiment, by name or pattern, under a condition."""

    label: str = ""  # empty: the experiment's own name
    experiment: str = "*"
    condition: str = "full"
    prefix: str = ""  # before each column's key


@dataclass
class Protocol:
    """A table: what is measured, under which conditions, shown in which order."""

    title: str
    columns: list[Column]
    rows: list[Row] = field(default_factory=lambda: [Row()])
    truth: bool = False  # a first row scores the ground truth by the same code

    @property
    def conditions(self) -> list[str]:
        """The conditions its rows need, in order."""
        return list(dict.fromkeys(row.condition for row in self.rows))

    def rows_for(self, runs: Iterable[tuple[str, str]]) -> list[Row]:
        """Its rows, labelled, and one a condition for each experiment of a family that none of them is of.

        So any method fits in; a family whose rows stand here gets no others.

        Args:
            runs: experiment and family of each.
        """
        family_of_run, rows = dict(runs), []
        for row in self.rows:
            fitting = [name for name in family_of_run if fnmatchcase(name, row.experiment)]
            rows += [row] if row.label else [replace(row, label=name, experiment=name) for name in fitting]
        known = group_options()["experiment"]
        named = {family_of(name) for row in self.rows for name in (row.experiment, *matching(known, row.experiment))}
        for name, family in family_of_run.items():
            if "*" not in named and family not in named:
                rows += [Row(f"{name}, {condition}", name, condition) for condition in self.conditions]
        return rows


Kind = TypeVar("Kind", Condition, Protocol)


def names(kind: str) -> list[str]:
    """The protocols or conditions there are."""
    return sorted(_files(kind))


def read_condition(name: str) -> Condition:
    """
    Raises:
        UserError: there is no such condition, or its file is wrong.
    """
    condition = _read("condition", name, Condition)
    for given in condition.silence:
        if given not in INPUTS:
            raise UserError(f"condition {name}:silence", repr(given), f"some of {', '.join(INPUTS)}", "correct it")
    return condition


def read_protocol(name: str) -> Protocol:
    """
    Raises:
        UserError: there is no such protocol, or its file is wrong.
    """
    protocol = _read("protocol", name, Protocol)
    for column in protocol.columns:
        if column.best not in BEST:
            raise UserError(f"protocol {name}:{column.key}", column.best, f"one of {', '.join(BEST)}", "correct it")
    for condition in protocol.conditions:
        read_condition(condition)
    return protocol


def _read(kind: str, name: str, form: type[Kind]) -> Kind:
    files = _files(kind)
    if name not in files:
        known = sorted(files)
        raise UserError(kind, repr(name), f"one of {', '.join(known)}", suggestion(name, known))
    file = files[name]
    try:
        made: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(form), OmegaConf.load(file)))
    except OmegaConfBaseException as error:
        raise UserError(str(file), str(error).splitlines()[0], f"a {kind}", "correct the file") from error
    assert isinstance(made, form)
    return made


def _files(kind: str) -> dict[str, Path]:
    """By name, ours before the user's own."""
    folders = [root / "evaluate" / kind for root in reversed(config_dirs())]
    return {file.stem: file for folder in folders for file in folder.glob("*.yaml")}
