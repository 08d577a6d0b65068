"""Column titles in two levels: what is looked at (head, mouth ...), and what is measured there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from talkingavatar.config.protocol import Column

PLACES = {  # the first part of a column's key, and how its title begins
    "full": "full frame",
    "matte": "in the matte",
    "head_neck": "head and neck",
    "mouth": "mouth",
    "hands": "hands",
    "sync": "SyncNet",
    "mouth_sync": "mouth-sound",
    "jitter": "jitter",
    "lmd": "landmarks",
    "au": "facial actions",
} | {f"view_{degrees % 360}": f"{degrees}°" for degrees in (-60, -30, 30, 60, 90, 180)}


@dataclass(frozen=True)
class Heading:
    """A place and its columns' titles, without the place's name. `place` is empty where there is none to name."""

    place: str
    titles: tuple[str, ...]


def headings(columns: Sequence[Column]) -> list[Heading]:
    """Neighbouring columns of one place under one heading."""
    found = []
    for place, group in groupby(columns, key=lambda column: PLACES.get(column.key.split("/")[0], "")):
        titles = tuple(column.title.removeprefix(f"{place} ") for column in group)
        found.append(Heading(place, titles))
    return found


def full_title(column: Column) -> str:
    """A column's title with its place, as where no heading stands above it."""
    place = PLACES.get(column.key.split("/")[0], "")
    return column.title if column.title.startswith(place) else f"{place} {column.title}"
