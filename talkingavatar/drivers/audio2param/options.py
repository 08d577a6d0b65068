"""What Audio2Param can be told (`driver.options`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from talkingavatar.config.options import read_options
from talkingavatar.config.schema import FitConfig
from talkingavatar.drivers.training import DriverOptions
from talkingavatar.errors import UserError
from talkingavatar.networks.audio2param import FEEDBACK, Shape

FIELD = "driver.options"


@dataclass
class Options(DriverOptions):
    """`driver.options`; conf/driver/audio2param.yaml says what each means."""

    targets: list[str] = field(default_factory=lambda: ["jaw", "mouth"])
    width: int = 128
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 1
    past: int = 8
    look: int = 1
    align: int = 1
    feedback: str = "none"
    smooth: float = 1.0
    dropout: float = 0.3
    windows: int = 8
    length: int = 75
    variation: float = 1.0
    grain: float = 2.0
    squared: bool = True
    least_std: float = 0.2
    least_r: float = 0.1
    most_gain: float = 2.0
    weight_decay: float = 0.01


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
    if options.feedback not in FEEDBACK:
        raise UserError(f"{FIELD}.feedback", repr(options.feedback), f"one of {', '.join(FEEDBACK)}", "correct it")
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
