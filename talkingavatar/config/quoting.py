"""Values as Hydra's override grammar writes them."""

import re
from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

PLAIN = re.compile(r"[A-Za-z0-9_./:@%+-]+")
QUOTED = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*""", re.DOTALL)


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
    return text if PLAIN.fullmatch(text) and not _reads_as_another_type(text) else quoted(text)


def quoted(text: str) -> str:
    """A text in quotes; within them a backslash means itself, except in a row of them before a quote or at the end."""
    quotes = re.sub(r"(\\*)'", lambda found: 2 * found.group(1) + r"\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", quotes) + "'"


def unquoted(text: str) -> str:
    """What a text in quotes means to Hydra; any other stands for itself."""
    if not QUOTED.fullmatch(text):
        return text
    try:
        return str(OverridesParser.create().parse_overrides([f"key={text}"])[0].value())
    except HydraException:
        return text


def literal(text: str) -> str:
    """A text in which OmegaConf sees no interpolation."""
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found.group(1) + r"\${", text)


def split(text: str) -> Iterator[str]:
    """The parts of a text between commas, those within quotes left out."""
    place = 0
    while place <= len(text):
        whole = QUOTED.match(text, place)
        end = whole.end() if whole and text[whole.end() : whole.end() + 1] in ("", ",") else text.find(",", place)
        end = len(text) if end < 0 else end
        yield text[place:end].strip()
        place = end + 1


def _reads_as_another_type(text: str) -> bool:
    if text.lower() in ("null", "true", "false", "nan", "inf", "+inf", "-inf"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
