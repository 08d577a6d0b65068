"""A sweep is checked before anything starts, without composing each of a thousand runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.config.compose import compose, parse_override, place_of, refused, to_raw, typed
from talkingavatar.config.family_options import OPTIONS
from talkingavatar.config.keys import as_row
from talkingavatar.config.listing import group_options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import check_rows
from talkingavatar.errors import UserError
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.parameters import Choice
from talkingavatar.launch.sweep_file import Sweep

MAKERS = ("experiment", "family", "method", "loss", "driver", "pretrained", "stages")  # which choose what is trained
MANY = 16  # values of one key above which only the ends of their order are tried


def check(sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Try every listed or drawn value of every parameter on the first run, and compose one run of each make.

    Raises:
        UserError: an unknown key, preset or value, or a row that what is trained does not have.
    """
    first, *others = _makes(jobs)
    config = compose(first.overrides)
    check_rows(config)
    base, groups = to_raw(config), group_options()
    for key, parameter in sweep.parameters.items():
        values = parameter.values if isinstance(parameter, Choice) else _drawn(key, jobs)
        for text in values if key in groups else _telling(values):
            if key in groups:
                place_of(key, str(parse_override(f"{key}={text}").value()), groups[key])
            elif key == "stages":  # a list chooses among the preset's
                compose((*first.overrides, f"{key}={text}"))
            else:
                override = parse_override(as_row(f"{key}={text}"))
                _check_value(base, override.key_or_group, override.value())
    for job in others:
        try:
            check_rows(compose(job.overrides))
        except UserError as error:
            found = f"{error.found}, in the run {job.name}"
            raise UserError(error.field, found, error.expected, error.action) from error


def _makes(jobs: Sequence[Job]) -> list[Job]:
    """The first run of each make: of what chooses what is trained, or adds to its tables (numbers add no rows)."""
    makers = tuple(f"{key}=" for key in MAKERS)
    first: dict[tuple[str, ...], Job] = {}
    for job in jobs:
        telling = [text for text in job.overrides if text.startswith((*makers, "+", "~")) or "={" in text]
        make = tuple(text if text.startswith(makers) or "={" in text else text.split("=")[0] for text in telling)
        first.setdefault(make, job)
    return list(first.values())


def _drawn(key: str, jobs: Sequence[Job]) -> tuple[str, ...]:
    start = f"{key}="
    return tuple(text.removeprefix(start) for job in jobs for text in job.overrides if text.startswith(start))


def _telling(values: tuple[str, ...]) -> tuple[str, ...]:
    """All values; of a long list of numbers, the least and the greatest."""
    if len(values) <= MANY:
        return values
    try:
        ordered = sorted(values, key=float)
    except ValueError:
        return values
    return ordered[0], ordered[-1]


def _check_value(base: DictConfig, key: str, value: Any) -> None:
    trial = base.copy()
    try:
        OmegaConf.update(trial, key, value, merge=True)
    except OmegaConfBaseException as error:
        raise refused(error, key) from error
    config = typed(trial)
    for section, nodes in OPTIONS.items():
        part = getattr(config, section)
        if part.name in nodes:
            read_options(nodes[part.name](), part.options, f"{section}.options")
