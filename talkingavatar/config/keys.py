"""What a dotted key of the configuration holds, by the schema; texts are taken as they are written."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
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


def as_row(text: str) -> str:
    """An override that gives a whole row of a table, or a stage's own section, as one that adds to the table itself.

    There OmegaConf gives what is new the type of its dataclass; by its own key it would stay a plain mapping.

    Raises:
        UserError: what is given is no mapping.
    """
    key, _, value = text.partition("=")
    name = key.lstrip("+")
    parts, kind = name.split("."), _without_none(kind_of(name))
    tables = (n for n in range(1, len(parts)) if typing.get_origin(kind_of(".".join(parts[:n]))) is dict)
    depth = next(tables, None)
    if key.startswith("~") or depth is None or not is_dataclass(kind) or value == "null":
        return text
    if not value.startswith("{"):
        known = [field.name for field in fields(kind)]
        raise UserError(name, repr(value), f"a mapping of {', '.join(known)}", f"give {key}={{{known[0]}: ...}}")
    for part in reversed(parts[depth:]):
        value = f"{{{part}: {value}}}"
    return f"+{'.'.join(parts[:depth])}={value}"


def check_key(key: str, added: bool, known: dict[str, Any], groups: Iterable[str]) -> None:
    """
    Args:
        added: whether it is written with a plus, which adds a row to a table (`+loss.terms.l1={weight: 1}`).
        known: keys that there are now.

    Raises:
        UserError: there is no such key; the nearest is suggested.
    """
    if key in known or any(name.startswith(f"{key}.") for name in known):
        return
    table, _, row = key.rpartition(".")
    there = known.get(table) is not None  # a section that a stage does not have of its own is None
    if added and kind_of(key) is not None and (there or any(name.startswith(f"{table}.") for name in known)):
        return
    action = suggestion(key, [*known, *groups])
    if added and kind_of(key) is not None:
        action = f"give the whole row, +{table}={{{row}: ...}}; or {action.replace('see', 'see the keys in')}"
    raise UserError(key, "an unknown key", "a key of the configuration", action)


def _text(value: str) -> str:
    whole = value if value != unquoted(value) and os.path.exists(value) else unquoted(value)  # noqa: PTH110
    return quoted(literal(whole))


def _without_none(kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind
