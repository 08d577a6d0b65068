"""Values as a run's name shows them."""

import hashlib
import re

NAME_LENGTH = 120  # characters; folders of many file systems end at 255


def name_part(key: str, text: str) -> str:
    """What a run's name shows of one parameter: presets by their name, the rest as key and value.

    `experiment=thgs_full` reads `thgs_full`, `data.identity=1` reads `identity1`, a path its last part.
    """
    value = text.strip("'\"").rstrip("/").rsplit("/", 1)[-1]
    value = re.sub(r"[^A-Za-z0-9.+-]+", "-" if key != "experiment" else "_", value).strip("-") or "empty"
    if key == "experiment":
        return value
    last = key.lstrip("+~").rsplit(".", 1)[-1]
    return f"{last}{value}" if value[0].isdigit() else f"{last}-{value}"


def shortened(name: str, whole: str) -> str:
    """A name that fits a folder; a long one ends with a digest of all it stands for."""
    if len(name) <= NAME_LENGTH:
        return name
    return f"{name[: NAME_LENGTH - 9]}-{digest(whole)}"


def digest(text: str) -> str:
    """Eight characters that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]
