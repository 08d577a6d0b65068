"""Values as Hydra's override grammar writes them, and as a run's name shows them."""

import hashlib
import re
from typing import Any

PLAIN = re.compile(r"[A-Za-z0-9_./:@%+-]+")
NAME_LENGTH = 120  # characters; folders of many file systems end at 255


def hydra_text(value: Any) -> str:
    """The text that Hydra reads back as this value: `None` as null, strings quoted where they need it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(hydra_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{hydra_text(item)}" for key, item in value.items()) + "}"
    text = str(value)
    if PLAIN.fullmatch(text) and not _reads_as_another_type(text):
        return text
    # Within quotes a backslash means itself, except in a row of them before a quote, where it is doubled.
    quotes = re.sub(r"(\\*)'", lambda found: 2 * found.group(1) + r"\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", quotes) + "'"


def _reads_as_another_type(text: str) -> bool:
    if text.lower() in ("null", "true", "false", "nan", "inf", "+inf", "-inf"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


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
