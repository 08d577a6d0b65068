"""YAML that a user wrote: read as OmegaConf does (1e-4 is a number), or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.errors import UserError
from talkingavatar.runtime import readers


def read_yaml(file: Path, what: str) -> dict[str, Any]:
    """
    Args:
        what: the file should be, for the error.

    Raises:
        UserError: it is not there, no text, no YAML, refers to itself, is empty or no mapping.
    """
    try:
        if not readers.read_yaml(file, f"give {what}"):
            raise UserError(str(file), "nothing", f"a mapping: {what}", "correct it")
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except FileNotFoundError as error:
        raise UserError(str(file), "no such file", what, "give another file") from error
    except (OmegaConfBaseException, ValueError, TypeError, AssertionError) as error:
        raise UserError(str(file), " ".join(str(error).split()), f"YAML: {what}", "correct it") from error
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
