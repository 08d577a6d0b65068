"""The range of every number, declared once beside its field; where none is, a number is finite. No text is empty
but where that is the default or allowed."""

import sys
from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from typing import Any

from talkingavatar.errors import UserError

MOST_STEPS = 10**9
PEOPLE = 9999  # the highest number of an embedded person
SEED = (0, 2**32 - 1)  # torch and numpy take it, and what is derived from it and a step stays within 64 bits
FINITE = (-sys.float_info.max, sys.float_info.max)


def within(default: Any, least: float, most: float) -> Any:
    """A field that is a number between two, both included; None passes where it is the default."""
    return field(default=default, metadata={"range": (least, most)})


def each(least: float, most: float, length: int | None = None) -> dict[str, Any]:
    """Metadata of a field that is a list of such numbers, of a length where one is told."""
    return {"range": (least, most), "length": length}


def or_nothing(default: str) -> Any:
    """A text that may be empty, though it is not so unless given."""
    return field(default=default, metadata={"empty": True})


def check_ranges(config: Any, key: str = "") -> None:
    """Look at every number and text of a dataclass, those in its lists, tables and sections as well.

    Raises:
        UserError: a number is out of its range, or not finite; a text is empty that may not be.
    """
    for each in fields(config):
        value = getattr(config, each.name)
        if value != "" or not (each.default == "" or "empty" in each.metadata):
            check_value(f"{key}{each.name}", value, each.metadata)


def check_value(key: str, value: Any, declared: Mapping[str, Any]) -> None:
    """The same for the value of one field, whatever it is.

    Args:
        declared: the field's metadata.

    Raises:
        UserError: as above.
    """
    if is_dataclass(value):
        check_ranges(value, f"{key}.")
    elif isinstance(value, dict):
        for name, item in value.items():
            check_value(f"{key}.{name}", item, {})
    elif isinstance(value, list | tuple):
        if (length := declared.get("length")) not in (None, len(value)):
            raise UserError(key, f"{len(value)} numbers", f"{length}", "correct it")
        for place, item in enumerate(value):
            check_value(f"{key}[{place}]", item, declared)
    elif value == "":  # `data.path=` of a script whose variable is not set: a path there is, but which?
        raise UserError(key, "nothing", "a value", f"give {key}=..., or leave it out")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        least, most = declared.get("range", FINITE)
        if not least <= value <= most:  # true of NaN
            expected = "a finite number" if "range" not in declared else f"{_told(least)} to {_told(most)}"
            raise UserError(key, _told(value), expected, "correct it")


def _told(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
