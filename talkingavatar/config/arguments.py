"""`key=value` arguments of commands that have a few keys of their own instead of Hydra groups."""

from collections.abc import Sequence

from talkingavatar.errors import UserError


def key_values(arguments: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """What was given, by key; the last of a key counts.

    Raises:
        UserError: not of the form key=value, or an unknown key (the nearest is suggested).
    """
    from talkingavatar.config.compose import suggestion

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
    from talkingavatar.config.compose import suggestion

    if value not in options:
        raise UserError(key, repr(value), f"one of {', '.join(options)}", suggestion(value, options))
    return value


def boolean(key: str, value: str) -> bool:
    """
    Raises:
        UserError: neither true nor false.
    """
    return choice(key, value.lower(), ("true", "false")) == "true"


def whole_numbers(key: str, value: str) -> tuple[int, ...]:
    """Numbers from 0 with commas between.

    Raises:
        UserError: something else.
    """
    parts = value.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UserError(key, repr(value), "whole numbers", "correct it")
    return tuple(int(part) for part in parts)
