"""`key=value` arguments of commands that have a few keys of their own instead of Hydra groups."""

import math
import os
import re
from collections.abc import Sequence

from talkingavatar.errors import UserError

LONGEST = 200  # bytes of a name; file systems end at 255, and names of files are made of it


def key_values(arguments: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """What was given, by key; the last of a key counts.

    Raises:
        UserError: not of the form key=value, or an unknown key (the nearest is suggested).
    """
    from talkingavatar.config.names import suggestion

    given: dict[str, str] = {}
    for text in arguments:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise UserError("argument", repr(text), "key=value", "see --help for examples")
        if key not in keys:
            raise UserError(key, "an unknown key", f"one of {', '.join(keys)}", suggestion(key, keys))
        given[key] = value
    return given


def choice(key: str, value: str, options: Sequence[str]) -> str:
    """The value, if it is one of the options.

    Raises:
        UserError: it is none; the nearest is suggested.
    """
    from talkingavatar.config.names import suggestion

    if value not in options:
        raise UserError(key, repr(value), f"one of {', '.join(options)}", suggestion(value, options))
    return value


def boolean(key: str, value: str) -> bool:
    """
    Raises:
        UserError: neither true nor false.
    """
    return choice(key, value.lower(), ("true", "false")) == "true"


def whole_number(key: str, value: str, least: int = 0, most: int = 10**9) -> int:
    """
    Raises:
        UserError: something else than a whole number between the two.
    """
    if not (value.strip().isdecimal() and len(value) < 20 and least <= int(value) <= most):
        raise UserError(key, repr(value), f"a whole number, {least} to {most}", "correct it")
    return int(value)


def number(key: str, value: str, least: float, most: float) -> float:
    """
    Raises:
        UserError: something else than a number between the two.
    """
    try:
        read = float(value)
    except ValueError:
        read = math.nan
    if not least <= read <= most:
        raise UserError(key, repr(value), f"a number, {least:g} to {most:g}", "correct it")
    return read


def plain_name(key: str, value: str) -> str:
    """A name that a folder may have, inside another.

    Raises:
        UserError: it leads elsewhere, or is none.
    """
    if re.search(r"[/\\\x00-\x1f]", value) or value in ("", ".", "..") or len(os.fsencode(value)) > LONGEST:
        raise UserError(key, repr(value), f"a plain name of at most {LONGEST} bytes", f"give {key}=<name>")
    return value
