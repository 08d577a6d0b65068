"""A parameter of a sweep: listed values, or one of W&B's distributions, drawn without its server."""

import math
import random
import sys
from dataclasses import dataclass
from typing import Any

from talkingavatar.config.names import suggestion
from talkingavatar.config.quoting import hydra_text
from talkingavatar.errors import UserError

NEEDS = {
    "uniform": ("min", "max"),
    "int_uniform": ("min", "max"),
    "log_uniform": ("min", "max"),  # of the exponent: exp(min) to exp(max)
    "log_uniform_values": ("min", "max"),
    "inv_log_uniform": ("min", "max"),  # 1 / x of a log_uniform x
    "inv_log_uniform_values": ("min", "max"),
    "normal": (),
    "log_normal": (),
    "beta": ("a", "b"),
}
LARGEST_EXPONENT = 100
SPAN = ("min", "max")
DEFAULTS = {"mu": 0.0, "sigma": 1.0, "q": 1.0}


@dataclass(frozen=True)
class Choice:
    """A parameter with listed values, each as Hydra writes it."""

    values: tuple[str, ...]
    probabilities: tuple[float, ...] | None = None
    constant: bool = False  # given as `value`: no part of a run's name


@dataclass(frozen=True)
class Distribution:
    """A parameter that is drawn: W&B's name of the distribution and its numbers."""

    name: str
    numbers: dict[str, float]


def distribution(field: str, spec: dict[str, Any]) -> Distribution:
    """A parameter of a sweep file that lists no values.

    Raises:
        UserError: an unknown distribution, or a number is missing or out of order.
    """
    numbers = {key: value for key, value in spec.items() if key != "distribution"}
    whole = all(isinstance(numbers.get(key), int) for key in ("min", "max"))
    name = str(spec.get("distribution", "int_uniform" if whole else "uniform"))
    base = name.removeprefix("q_")
    if base not in NEEDS:
        raise UserError(field, f"distribution: {name}", f"one of {', '.join(NEEDS)}", suggestion(name, NEEDS))
    for key in (*NEEDS[base], *numbers):
        if not is_number(numbers.get(key)):
            raise UserError(field, f"{key}: {numbers.get(key, 'nothing')}", "a finite number", f"give {key}")
    if "min" in numbers and not numbers["min"] <= numbers.get("max", math.inf):
        raise UserError(field, f"min {numbers['min']} above max {numbers['max']}", "min below max", "swap them")
    for key in ("q", "sigma", "a", "b"):
        if numbers.get(key, 1) <= 0:
            raise UserError(field, f"{key}: {numbers[key]}", "a number above 0", "raise it")
    if base == "int_uniform" and any(numbers[key] != int(numbers[key]) for key in NEEDS[base]):
        raise UserError(field, f"min {numbers['min']}, max {numbers['max']}", "whole numbers", "correct them")
    exponents = {"log_uniform": SPAN, "inv_log_uniform": SPAN, "log_normal": ("mu", "sigma")}.get(base, ())
    for key in exponents:
        if abs(numbers.get(key, 0)) > LARGEST_EXPONENT:
            expected = f"an exponent of e, at most {LARGEST_EXPONENT}"
            raise UserError(field, f"{key}: {numbers[key]}", expected, f"for values themselves: {base}_values")
    if base.endswith("log_uniform_values") and numbers["min"] <= 0:
        raise UserError(field, f"min: {numbers['min']}", "a number above 0", "raise it")
    return Distribution(name, numbers)


def is_number(value: Any) -> bool:
    """Whether a value of a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def draw(parameter: Choice | Distribution, generator: random.Random) -> str:
    """One value, as Hydra writes it."""
    if isinstance(parameter, Choice):
        return generator.choices(parameter.values, parameter.probabilities)[0]
    numbers = DEFAULTS | parameter.numbers
    value = _draw(parameter.name.removeprefix("q_"), numbers, generator)
    if parameter.name.startswith("q_"):
        value = round(value / numbers["q"]) * numbers["q"]
    return hydra_text(value)


def _draw(name: str, numbers: dict[str, float], generator: random.Random) -> float:
    if name == "int_uniform":
        return generator.randint(int(numbers["min"]), int(numbers["max"]))
    if name == "uniform":
        return generator.uniform(numbers["min"], numbers["max"])
    if name == "log_uniform":
        return math.exp(generator.uniform(numbers["min"], numbers["max"]))
    if name == "log_uniform_values":
        return math.exp(generator.uniform(math.log(numbers["min"]), math.log(numbers["max"])))
    if name == "inv_log_uniform":
        return 1 / _draw("log_uniform", numbers, generator)
    if name == "inv_log_uniform_values":  # as wandb's: evenly in log(1 / x) between the ends' inverses
        return _draw("log_uniform_values", numbers, generator)
    if name == "beta":
        return generator.betavariate(numbers["a"], numbers["b"])
    drawn = generator.gauss(numbers["mu"], numbers["sigma"])
    return math.exp(drawn) if name == "log_normal" else drawn
