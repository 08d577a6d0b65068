"""A sweep is checked before anything starts, without composing each of a thousand runs."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.config.compose import compose, parse_override, place_of, to_raw, typed
from talkingavatar.config.family_options import OPTIONS
from talkingavatar.config.keys import as_row
from talkingavatar.config.listing import group_options
from talkingavatar.config.options import read_options
from talkingavatar.errors import UserError
from talkingavatar.launch.parameters import Choice
from talkingavatar.launch.sweep_file import Sweep

MANY = 16  # values of one key above which only the ends of their order are tried


def check(sweep: Sweep, overrides: tuple[str, ...]) -> None:
    """Compose one run whole, and try every listed value of every parameter against the schema.

    Args:
        overrides: of the sweep's first run.

    Raises:
        UserError: an unknown key, preset or value.
    """
    base = to_raw(compose(overrides))
    groups = group_options()
    for key, parameter in sweep.parameters.items():
        if not isinstance(parameter, Choice):
            continue
        for text in parameter.values if key in groups else _telling(parameter.values):
            if key in groups:
                place_of(key, str(parse_override(f"{key}={text}").value()), groups[key])
            else:
                override = parse_override(as_row(f"{key}={text}"))
                _check_value(base, override.key_or_group, override.value())


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
        reason = str(error).splitlines()[0]
        raise UserError(key, reason, "a value of the type in the schema", "correct it") from error
    config = typed(trial)
    for section, nodes in OPTIONS.items():
        part = getattr(config, section)
        if part.name in nodes:
            read_options(nodes[part.name](), part.options, f"{section}.options")
