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
    least = {
        "width": 8, "heads": 1, "encoder_layers": 1, "decoder_layers": 1, "past": 1, "look": 0, "align": 0,
        "windows": 1, "length": 8, "smooth": 0, "dropout": 0, "variation": 0, "grain": 0, "least_std": 0,
        "most_gain": 1, "weight_decay": 0,
    }  # fmt: skip
    for name, value in least.items():
        if getattr(options, name) < value:
            raise UserError(f"{FIELD}.{name}", str(getattr(options, name)), f"at least {value}", "raise it")
    for name, most in {"dropout": 0.9, "own_share": 1.0, "least_std": 1.0, "least_r": 1.0}.items():
        if not 0 <= getattr(options, name) <= most:
            raise UserError(f"{FIELD}.{name}", str(getattr(options, name)), f"between 0 and {most:g}", "correct it")
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
