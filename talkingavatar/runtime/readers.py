"""Small files that are read whatever lies under their name: what they hold, or one line of what they are instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard

from talkingavatar.errors import UserError

LARGEST = 1e300  # of a number that can be rounded and stays one
MOST = 100_000  # parts of a YAML file, with what is referred to


class Unreadable(UserError):
    """A file is there and is not what its name says."""


def read_json(file: Path, kind: type, action: str, finite: bool = False) -> Any:
    """What a JSON file holds, in any of the encodings that JSON may have, each name once.

    Args:
        kind: what stands at its top: dict, list, or object for anything.
        action: what to do about a damaged one.
        finite: refuse what Python writes for numbers that are none.

    Raises:
        Unreadable: it cannot be read, is no JSON, or holds something else.
        FileNotFoundError: there is none.
    """
    constant = _no_number if finite else None
    found = _read(file, lambda told: _plain_json(told, constant), "JSON", action)
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


def read_yaml_list(file: Path, action: str) -> list[Any]:
    """What a YAML file lists.

    Raises:
        Unreadable, FileNotFoundError: as `read_yaml`.
    """
    found = _read(file, _plain_yaml, "YAML", action)
    if not isinstance(found, list):
        raise Unreadable(str(file), "nothing" if found is None else f"a {_called(found)}", "a list", action)
    return found


def journal_row(line: bytes | str) -> dict[str, Any]:
    """What was logged of one step; nothing where the line was cut off by a kill, or is none: its `step` is no count."""
    try:
        row = _plain_json(line.encode() if isinstance(line, str) else line, None)
    except (ValueError, RecursionError):
        return {}
    step = row.get("step") if isinstance(row, dict) else None
    return row if type(step) is int and 0 <= step < 1 << 63 else {}


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number that can be shown: finite, such as a float can hold, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def healed(read: Callable[[], Any], absent: Any, told: Callable[[str], None]) -> Any:
    """What is read of a file that can be made anew; `absent` where there is none or, said in a line, a damaged one."""
    try:
        return read()
    except FileNotFoundError:
        return absent
    except Unreadable as error:
        told(f"{error.field}: {error.found}: it is made anew")
        return absent


def _read(file: Path, parse: Callable[[bytes], Any], form: str, action: str) -> Any:
    try:
        return parse(file.read_bytes())
    except FileNotFoundError:
        if file.is_symlink():
            raise Unreadable(str(file), "a link to nothing", f"a {form} file", action) from None
        raise
    except OSError as error:
        raise Unreadable(str(file), error.strerror or type(error).__name__, f"a {form} file", action) from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(file), _reason(error), f"a {form} file", action) from error


def _plain_json(told: bytes, constant: Callable[[str], None] | None) -> Any:
    """
    Raises:
        ValueError: no JSON, a name twice, or half a character, which nothing can be written with again.
    """
    text = told.decode(json.detect_encoding(told))
    found = json.loads(text, object_pairs_hook=_once, parse_constant=constant)
    if "\\ud" in text.lower():
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text}, which is no number")


def _plain_yaml(told: bytes) -> Any:
    """Mappings, lists, texts and numbers.

    Raises:
        ValueError: no YAML, or more than that: other types, a name twice, something that holds itself.
    """
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(told.decode("utf-8-sig"))
        tree = loader.get_single_node()
        _check_names(tree)
        if b"&" in told:  # else nothing is referred to
            _size(tree, (), {})
        return None if tree is None else loader.construct_document(tree)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" in line {place.line + 1}" if place else ""
        raise ValueError(f"{getattr(error, 'problem', None) or _reason(error)}{where}") from error


def _check_names(tree: Any) -> None:
    """
    Raises:
        ValueError: a name stands twice in a mapping.
    """
    waiting, seen = [tree], set()
    while waiting:
        node = waiting.pop()
        if not isinstance(entries := getattr(node, "value", None), list) or id(node) in seen:
            continue
        seen.add(id(node))
        if entries and isinstance(entries[0], tuple):
            names = [str(name.value) for name, _ in entries]
            if len(set(names)) < len(names):
                again = next(i for i, name in enumerate(names) if name in names[:i])
                raise ValueError(f"'{names[again]}' twice, again in line {entries[again][0].start_mark.line + 1}")
            entries = [value for _, value in entries]
        waiting += entries


def _size(node: Any, above: tuple[int, ...], known: dict[int, int]) -> int:
    """Parts of a tree when what is named is written out wherever it is referred to.

    Raises:
        ValueError: a part holds itself, or there are too many.
    """
    if id(node) in above:
        raise ValueError(f"a part that holds itself in line {node.start_mark.line + 1}")
    if id(node) in known or not isinstance(getattr(node, "value", None), list):
        return known.get(id(node), 1)
    size = 1
    for entry in node.value:
        for part in entry if isinstance(entry, tuple) else (entry,):
            size += _size(part, (*above, id(node)), known)
    if size > MOST:
        raise ValueError(f"more than {MOST} parts in line {node.start_mark.line + 1}")
    known[id(node)] = size
    return size


def _reason(error: BaseException) -> str:
    """A first line, short."""
    if isinstance(error, RecursionError):
        return "parts in parts without end"
    if isinstance(error, UnicodeError):
        return "no text"
    if isinstance(error, json.JSONDecodeError):
        told = f"no JSON: {error.msg[:1].lower()}{error.msg[1:]} in line {error.lineno}"
        return told if error.doc.strip() else "an empty file"
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _called(found: object) -> str:
    names = {dict: "mapping", list: "list", str: "text", bool: "truth value", int: "number", float: "number"}
    return names.get(type(found), "null" if found is None else type(found).__name__)
