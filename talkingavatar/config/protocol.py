"""Evaluation as data: driving conditions and the tables they fill, read from `conf/evaluate/`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import filter as matching
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.config.listing import config_dirs, family_of, group_options
from talkingavatar.config.names import suggestion
from talkingavatar.config.ranges import SEED, check_ranges, within
from talkingavatar.config.schema import INPUTS
from talkingavatar.config.yaml_file import read_yaml
from talkingavatar.errors import UserError

TRUTH = "ground truth"  # the row of `Protocol.truth`
BEST = ("high", "low", "none")
REFERENCES = ("captured", "true")
CAPTURED = "captured"  # in place of a layer: the capture's own pictures, as those of a teacher
ASKED = ("cpbd", "edits")  # what takes its time: measured where a protocol's columns, or a user, ask for it
EXTERNAL, SHOWN = "external", "shown"  # family of a video that others rendered; the condition that it is measured under
RIDGE = "ridge"  # in place of a stage: the closed-form mouth of `audio.mouth`, fitted to the training frames


@dataclass
class Condition:
    """How a run is driven while it is measured, what of it is shown, and what that is compared with."""

    about: str = ""
    silence: list[str] = field(default_factory=list)  # inputs withheld at test time (config.schema.INPUTS)
    spoken: bool = False  # what a driver foretells from sound takes the place of what was tracked
    driver: str = ""  # that driver's stage, or "ridge"; empty: the run's own
    samples: int = within(1, 1, 1000)  # answers of a driver that gives several to one sound; the first is shown
    seed: int = within(0, *SEED)  # of these
    align: bool = False  # align the body's pose to each picture first
    layer: str | None = None  # of the method's Gaussians, or "captured"; None: the one that is shown
    reference: str = "captured"  # captured | true: what frames are compared with; true ones where a teacher drew those
    view: str | None = None  # of the capture, by name (of the embedded speaker: degrees); None: the first

    @property
    def plain(self) -> bool:
        """Whether nothing but the capture drives, as the capture saw it."""
        return self == Condition(about=self.about)


@dataclass
class Column:
    """One number of every row."""

    title: str
    key: str  # of a result's metrics
    digits: int = within(2, 0, 10)
    scale: float = 1.0  # LPIPS stands x 100 in the papers
    best: str = "high"  # high | low | none: which value is set in bold
    about: str = ""  # a sentence for readers of the page


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
    def asked(self) -> set[str]:
        """Which of `ASKED` its columns show."""
        return {name for name in ASKED for column in self.columns if name in column.key.split("/")}

    @property
    def conditions(self) -> list[str]:
        """The conditions its rows need, in order."""
        return list(dict.fromkeys(row.condition for row in self.rows))

    def rows_for(self, runs: Iterable[tuple[str, str]]) -> list[Row]:
        """Its rows, labelled, and one a condition for each experiment of a family that none of them is of.

        So any method fits in; a family whose rows stand here gets no others. A video that others rendered is as it is:
        one row, whatever the conditions.

        Args:
            runs: experiment and family of each.
        """
        family_of_run, rows = dict(runs), []
        shown = [name for name, family in family_of_run.items() if family == EXTERNAL]
        named_here = [row.experiment for row in self.rows if row.condition == SHOWN]
        family_of_run = {name: family for name, family in family_of_run.items() if name not in shown}
        for row in self.rows:
            fitting = [name for name in family_of_run if fnmatchcase(name, row.experiment)]
            told = f", {row.condition}" if len(self.conditions) > 1 else ""
            rows += [row] if row.label else [replace(row, label=f"{n}{told}", experiment=n) for n in fitting]
        known = group_options()["experiment"]
        experiments = {name for row in self.rows for name in (row.experiment, *matching(known, row.experiment))}
        named = {family_of(name, known) for name in experiments}
        for name, family in family_of_run.items():
            if "*" not in named and family not in named:
                rows += [Row(f"{name}, {condition}", name, condition) for condition in self.conditions]
        others = [name for name in shown if not any(fnmatchcase(name, pattern) for pattern in named_here)]
        return rows + [Row(f"{name} ({EXTERNAL})", escape(name), SHOWN) for name in others]

    def conditions_for(self, experiment: str, family: str) -> list[str]:
        """Those that the rows of an experiment need, in order."""
        if family == EXTERNAL:
            return [SHOWN]
        rows = self.rows_for([(experiment, family)])
        return list(dict.fromkeys(row.condition for row in rows if fnmatchcase(experiment, row.experiment)))


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
    if condition.reference not in REFERENCES:
        expected = f"one of {', '.join(REFERENCES)}"
        raise UserError(f"condition {name}:reference", condition.reference, expected, "correct it")
    if not condition.spoken and (condition.driver or condition.samples > 1 or condition.seed):
        found = "a driver, samples or a seed without spoken"
        raise UserError(f"condition {name}:spoken", found, "spoken: true", "correct it")
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
        made: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(form), read_yaml(file, f"a {kind}")))
    except OmegaConfBaseException as error:
        raise UserError(str(file), str(error).splitlines()[0], f"a {kind}", "correct the file") from error
    assert isinstance(made, form)
    check_ranges(made, f"{file}: ")
    return made


def _files(kind: str) -> dict[str, Path]:
    """By name, ours before the user's own."""
    folders = [root / "evaluate" / kind for root in reversed(config_dirs())]
    return {file.stem: file for folder in folders for file in folder.glob("*.yaml")}
