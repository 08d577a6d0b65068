"""Small files that are read whatever lies under their name: what they hold, or one line of what they are instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from talkingavatar.errors import UserError

MOST = 100_000  # parts of a YAML file, with what is referred to


class Unreadable(UserError):
    """A file is there and is not what its name says."""


def read_json(file: Path, kind: type, action: str) -> Any:
    """What a JSON file holds.

    Args:
        kind: dict or list, what stands at its top.
        action: what to do about a damaged one.

    Raises:
        Unreadable: it cannot be read, is no JSON, or holds something else.
        FileNotFoundError: there is none.
    """
    found = _read(file, json.loads, "JSON", action)
    if not isinstance(found, kind):
        expected = "named values" if kind is dict else "a list"
        raise Unreadable(str(file), f"a JSON {_called(found)}", expected, action)
    return found


def read_yaml(file: Path, action: str) -> dict[str, Any]:
    """What a YAML file holds: named values, each name once.

    Args:
        action: what to do about a damaged one.

    Raises:
        Unreadable: it cannot be read, is no YAML of plain values, or holds something else.
        FileNotFoundError: there is none.
    """
    found = _read(file, _plain_yaml, "YAML", action)
    if not isinstance(found, dict):
        raise Unreadable(str(file), "nothing" if found is None else f"a {_called(found)}", "named values", action)
    return found


def healed(read: Callable[[], Any], absent: Any, told: Callable[[str], None]) -> Any:
    """What is read of a file that can be made anew; `absent` where there is none or, said in a line, a damaged one."""
    try:
        return read()
    except FileNotFoundError:
        return absent
    except Unreadable as error:
        told(f"{error.field}: {error.found}: it is made anew")
        return absent


def _read(file: Path, parse: Callable[[str], Any], form: str, action: str) -> Any:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file.is_symlink():
            raise Unreadable(str(file), "a link to nothing", f"a {form} file", action) from None
        raise
    except OSError as error:
        raise Unreadable(str(file), error.strerror or type(error).__name__, f"a {form} file", action) from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(file), _reason(error), f"a {form} file", action) from error


def _plain_yaml(text: str) -> Any:
    """Mappings, lists, texts and numbers.

    Raises:
        ValueError: no YAML, or more than that: other types, a name twice, something that holds itself.
    """
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        tree = loader.get_single_node()
        _size(tree, (), {})
        return None if tree is None else loader.construct_document(tree)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" in line {place.line + 1}" if place else ""
        raise ValueError(f"{getattr(error, 'problem', None) or _reason(error)}{where}") from error


def _size(node: Any, above: tuple[int, ...], known: dict[int, int]) -> int:
    """Parts of a tree when what is named is written out wherever it is referred to.

    Raises:
        ValueError: a name stands twice, a part holds itself, or there are too many.
    """
    if id(node) in above:
        raise ValueError(f"a part that holds itself in line {node.start_mark.line + 1}")
    if id(node) in known or not isinstance(getattr(node, "value", None), list):
        return known.get(id(node), 1)
    size, names = 1, set()
    for entry in node.value:
        for part in entry if isinstance(entry, tuple) else (entry,):
            size += _size(part, (*above, id(node)), known)
        if isinstance(entry, tuple):
            name = str(entry[0].value)
            if name in names:
                raise ValueError(f"'{name}' twice, again in line {entry[0].start_mark.line + 1}")
            names.add(name)
    if size > MOST:
        raise ValueError(f"more than {MOST} parts in line {node.start_mark.line + 1}")
    known[id(node)] = size
    return size


def _reason(error: BaseException) -> str:
    """A first line, short."""
    if isinstance(error, RecursionError):
        return "parts in parts without end"
    if isinstance(error, UnicodeDecodeError):
        return "no text"
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _called(found: object) -> str:
    names = {dict: "mapping", list: "list", str: "text", bool: "truth value", int: "number", float: "number"}
    return names.get(type(found), "null" if found is None else type(found).__name__)
