"""YAML that a user wrote, or that a program may have damaged: read as a mapping, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.errors import UserError

DEPTH = 50  # of lists and mappings within each other
NODES = 100_000  # of a file, with its references unfolded
LENGTH = 10**7  # bytes


def read_yaml(file: Path, what: str) -> dict[str, Any]:
    """
    Args:
        what: the file should be, for the error.

    Raises:
        UserError: it is not there, no text, no YAML, refers to itself, is empty or no mapping.
    """
    try:
        if file.stat().st_size > LENGTH:
            raise UserError(str(file), f"{file.stat().st_size:,} bytes", what, "give another file")
        text = file.read_bytes().decode("utf-8-sig")
        _count(yaml.compose(text, Loader=yaml.SafeLoader), 0, 0)
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False) if text.strip() else None
    except OSError as error:
        raise UserError(str(file), error.strerror or str(error), what, "give another file") from error
    except UnicodeDecodeError as error:
        raise UserError(str(file), "bytes that are no text", f"{what}, in UTF-8", "give another file") from error
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, AssertionError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise UserError(str(file), line, f"YAML: {what}", "correct it") from error
    if not isinstance(content, dict) or not content:
        found = "nothing" if not content else f"a {type(content).__name__}"
        raise UserError(str(file), found, f"a mapping: {what}", "correct it")
    return {str(key): value for key, value in content.items()}


def _count(node: yaml.Node | None, depth: int, count: int) -> int:
    """Nodes so far; what refers to itself has no end to its depth.

    Raises:
        ValueError: too deep, or too many.
    """
    count += 1
    if depth > DEPTH or count > NODES:
        raise ValueError("lists or mappings that hold themselves, or too many within each other")
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            count = _count(item, depth + 1, count)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            count = _count(value, depth + 1, _count(key, depth + 1, count))
    return count
