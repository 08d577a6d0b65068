"""What can be chosen by name: our own classes, and those that installed packages offer as entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from talkingavatar.config.names import suggestion
from talkingavatar.errors import UserError


def named(field: str, name: str, own: Mapping[str, str], group: str) -> Any:
    """What stands behind a name.

    Args:
        field: of the configuration, for the error.
        own: our names, each with its "module:attribute"; no package takes one of them.
        group: of entry points, such as "talkingavatar.methods".

    Raises:
        UserError: there is no such name, or nothing where its package says it is.
    """
    places = own if name in own else {point.name: point.value for point in entry_points(group=group)} | dict(own)
    if name not in places:
        raise UserError(field, repr(name), f"one of {', '.join(places)}", suggestion(name, places))
    module, _, attribute = places[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        found = f"{name!r}, which is not to be had ({error})"
        raise UserError(field, found, places[name], "mend the package that offers it") from error
