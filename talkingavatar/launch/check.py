"""A sweep is checked before anything starts, without composing each of a thousand runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.config.compose import compose, parse_override, place_of, to_raw, typed
from talkingavatar.config.family_options import OPTIONS
from talkingavatar.config.listing import group_options
from talkingavatar.config.options import read_options
from talkingavatar.errors import UserError
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.parameters import Choice
from talkingavatar.launch.sweep_file import Sweep

MANY = 16  # values of one key above which only the ends of their order are tried


def check(sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Compose one run whole, and try every listed or drawn value of every parameter against the schema.

    Args:
        jobs: the sweep's runs.

    Raises:
        UserError: an unknown key, preset or value.
    """
    first = jobs[0].overrides
    base = to_raw(compose(first))
    groups = group_options()
    for key, parameter in sweep.parameters.items():
        values = parameter.values if isinstance(parameter, Choice) else _drawn(key, jobs)
        for text in values if key in groups else _telling(values):
            value = parse_override(f"{key}={text}").value()
            if key in groups:
                place_of(key, str(value), groups[key])
            elif key == "stages":  # a list chooses among the preset's
                compose((*first, f"{key}={text}"))
            else:
                _check_value(base, key.lstrip("+"), value)


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
        OmegaConf.update(trial, key, value, merge=False)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(key, reason, "a value of the type in the schema", "correct it") from error
    config = typed(trial)
    for section, nodes in OPTIONS.items():
        part = getattr(config, section)
        if part.name in nodes:
            read_options(nodes[part.name](), part.options, f"{section}.options")
