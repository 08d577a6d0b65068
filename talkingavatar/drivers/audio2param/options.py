"""What Audio2Param can be told (`driver.options`)."""

from __future__ import annotations

from talkingavatar.config.family_options import Audio2Param as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.schema import FitConfig
from talkingavatar.errors import UserError
from talkingavatar.networks.audio2param import Shape

FIELD = "driver.options"


def read(config: FitConfig) -> Options:
    """Options from configuration.

    Raises:
        UserError: an unknown name, or a value of the wrong type or size.
    """
    options = read_options(Options(), config.driver.options, FIELD)
    if options.width % options.heads:
        found = f"{options.width} for {options.heads} heads"
        raise UserError(f"{FIELD}.width", found, "as much for each head", "give a multiple of the heads")
    if options.windows % config.trainer.processes:
        expected = f"a multiple of {config.trainer.processes}, the number of processes"
        raise UserError(f"{FIELD}.windows", str(options.windows), expected, "correct it")
    return options


def shape_of(options: Options, channels: int, outputs: int, speakers: int) -> Shape:
    """The network's sizes: those of the options, and of what it is for."""
    given = {name: getattr(options, name) for name in Shape.__dataclass_fields__ if hasattr(options, name)}
    return Shape(channels=channels, outputs=outputs, speakers=speakers, **given)
