"""What a dotted key of the configuration holds, by the schema; texts are taken as they are written."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any

from talkingavatar.config.family_options import OPTIONS
from talkingavatar.config.names import suggestion
from talkingavatar.config.quoting import literal, quoted, split, unquoted
from talkingavatar.config.schema import FitConfig
from talkingavatar.errors import UserError


def kind_of(key: str) -> Any:
    """The type of what stands under a key; None: there is no such key.

    Of options it is that of any method or driver that has one of the name; `Any` where only another package can tell.
    """
    kind: Any = FitConfig
    section = ""
    for part in key.split("."):
        kind = _without_none(kind)
        if part == "options" and section in OPTIONS:
            kind = dict[str, Any]
        elif is_dataclass(kind):
            kind = typing.get_type_hints(kind).get(part)
        elif kind == dict[str, Any] and section == "options":
            hints = [typing.get_type_hints(node).get(part) for nodes in OPTIONS.values() for node in nodes.values()]
            kind = next((hint for hint in hints if hint is not None), Any)
        elif typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        else:
            return kind if kind is Any else None
        section = part
    return kind


def as_written(text: str) -> str:
    """An override whose value is a text by the schema, such as a path, quoted so that Hydra reads its very characters.

    A value that is in quotes already is taken as Hydra takes it, unless a file has those quotes in its name.
    """
    key, equals, value = text.partition("=")
    kind = _without_none(kind_of(key.lstrip("+~")))
    if not equals or value == "null" or key.startswith("~"):
        return text
    if kind is str:
        return f"{key}={_text(value)}"
    if kind == list[str] and value.startswith("[") and value.endswith("]"):
        return f"{key}=[{','.join(map(_text, split(value[1:-1])))}]" if value[1:-1].strip() else text
    return text


def check_key(key: str, added: bool, known: dict[str, Any], groups: Iterable[str]) -> None:
    """
    Args:
        added: whether it is written with a plus, which adds an option. The rows of tables that methods read are those
            of their presets: one more would never count.
        known: keys that there are now.

    Raises:
        UserError: there is no such key; the nearest is suggested.
    """
    if key in known or any(name.startswith(f"{key}.") for name in known):
        return
    table, kind = key.rpartition(".")[0], kind_of(key)
    there = table in known or any(name.startswith(f"{table}.") for name in known)
    if added and kind is not None and not is_dataclass(kind) and there:
        return
    action = suggestion(key, [*known, *groups])
    raise UserError(key, "an unknown key", "a key of the configuration", action)


def _text(value: str) -> str:
    whole = value if value != unquoted(value) and os.path.exists(value) else unquoted(value)  # noqa: PTH110
    return quoted(literal(whole))


def _without_none(kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind
