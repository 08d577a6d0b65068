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
