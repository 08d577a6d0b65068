"""What a run directory holds, and its removal: nothing else is ever removed. Imports no torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from talkingavatar.errors import UserError
from talkingavatar.runtime.lock import NAME as LOCK
from talkingavatar.runtime.readers import Unreadable, read_json, read_yaml

# By folder, what a run's commands write there, as patterns of names.
CONTENTS = {
    "": (
        "config.yaml", "provenance.json", "changes.patch", "packages.txt", "status.json", "metrics.jsonl",
        "summary.json", "wandb_id", "*.ckpt", "mouth-*.npz", "syncnet.model*", "mesh_code.npz", "report.*", ".*.tmp*",
        f"{LOCK}*",
    ),
    "media": ("*.png", "*.mp4", "*.json", ".*.tmp*"),
    "evaluation": ("*.png", "*.json", "*.md", "*.csv", ".*.tmp*"),
    "wandb": ("*",),
}  # fmt: skip
KEPT = f"{LOCK}*"  # who empties it holds it


def is_ours(folder: Path) -> bool:
    """Whether a file in the folder says that it is a run directory: its configuration, or how it was started."""
    with suppress(FileNotFoundError, Unreadable):
        if {"experiment", "budget", "data"} <= read_yaml(folder / "config.yaml", "").keys():
            return True
    with suppress(FileNotFoundError, Unreadable):
        starts = read_json(folder / "provenance.json", list, "")
        return any(isinstance(start, dict) and {"command", "commit"} <= start.keys() for start in starts)
    return False


def check_ours(folder: Path, field: str, known: bool = False) -> None:
    """
    Args:
        field: what the user named the folder by.
        known: something else says that the folder is a run directory.

    Raises:
        UserError: the folder is no run directory, or holds what no run writes. An empty one will do.
    """
    action = "remove it yourself if nothing in it is of worth, or choose another folder"
    if not folder.is_dir():
        raise UserError(field, f"{folder}, a file", "a run directory", action)
    foreign = sorted(str(place.relative_to(folder)) for place in _foreign(folder))
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        found = f"{folder} with {', '.join(foreign[:3])}{more}, which no run writes"
        raise UserError(field, found, "a run directory alone, to remove it", action)
    if not known and not is_ours(folder) and any(_entries(folder)):
        found = f"{folder} without a configuration or a record of starts of ours"
        raise UserError(field, found, "a run directory, to remove it", action)


def empty(folder: Path, field: str, known: bool = False) -> None:
    """Remove what runs write from a run directory; the directory itself and its lock stay.

    Raises:
        UserError: as `check_ours`; then nothing is removed.
    """
    check_ours(folder, field, known)
    # Last what says that it is a run: emptying that was cut off can be done again.
    marks = ("config.yaml", "provenance.json")
    for entry in sorted(_entries(folder), key=lambda entry: entry.name in marks):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def taken(folder: Path) -> list[str]:
    """Names of a run's files that lie in a folder which is no run directory: writing would replace them."""
    if is_ours(folder):
        return []
    names = [pattern for pattern in CONTENTS[""] if "*" not in pattern]
    return [name for name in names if (folder / name).exists() and (folder / name).stat().st_size]


def in_the_way(folder: Path) -> list[str]:
    """Folders that lie where a run writes files."""
    return sorted(
        entry.name
        for entry in _entries(folder)
        if entry.is_dir()
        and entry.name not in CONTENTS
        and any(fnmatchcase(entry.name, pattern) for pattern in CONTENTS[""])
    )


def _entries(folder: Path) -> Iterator[Path]:
    return (entry for entry in folder.iterdir() if not fnmatchcase(entry.name, KEPT))


def _foreign(folder: Path) -> Iterator[Path]:
    """What no run writes."""
    for entry in _entries(folder):
        inner = CONTENTS.get(entry.name, ())
        if entry.is_symlink() and entry.name in CONTENTS:
            continue  # the link is removed, not what it points to
        if not inner and not any(fnmatchcase(entry.name, pattern) for pattern in CONTENTS[""]):
            yield entry
        elif inner and inner != ("*",) and entry.is_dir():
            yield from (e for e in entry.iterdir() if not any(fnmatchcase(e.name, pattern) for pattern in inner))
