"""What drivers that foretell parts of a pose can be told (`driver.options`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from talkingavatar.config.family_options import RigDriver
from talkingavatar.config.options import read_options
from talkingavatar.config.schema import FitConfig
from talkingavatar.errors import UserError

FIELD = "driver.options"
Options = TypeVar("Options", bound=RigDriver)
Shape = TypeVar("Shape")


def read(defaults: Options, config: FitConfig) -> Options:
    """Options from configuration.

    Raises:
        UserError: an unknown name, or a value of the wrong type or size.
    """
    options = read_options(defaults, config.driver.options, FIELD)
    if options.width % options.heads:
        found = f"{options.width} for {options.heads} heads"
        raise UserError(f"{FIELD}.width", found, "as much for each head", "give a multiple of the heads")
    if options.windows % config.trainer.processes:
        expected = f"a multiple of {config.trainer.processes}, the number of processes"
        raise UserError(f"{FIELD}.windows", str(options.windows), expected, "correct it")
    return options


def shape_of(kind: Callable[..., Shape], options: RigDriver, channels: int, outputs: int, speakers: int) -> Shape:
    """The network's sizes (a dataclass): those of the options, and of what it is for."""
    named: Any = kind
    given = {f.name: getattr(options, f.name) for f in fields(named) if hasattr(options, f.name)}
    return kind(channels=channels, outputs=outputs, speakers=speakers, **given)
