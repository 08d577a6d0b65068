"""Folders that can be made anew and know what was written into them: damage is found before anything is read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from talkingavatar.runtime.command import warn
from talkingavatar.runtime.making import making
from talkingavatar.runtime.readers import Unreadable, read_json

SEAL = "contents.json"


def seal(folder: Path) -> None:
    """Note what lies in a folder, in `contents.json` there; what is added later is not looked at."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    noted = {str(file.relative_to(folder)): _fingerprint(file) for file in files}
    (folder / SEAL).write_text(json.dumps(noted))


def sealed(folder: Path) -> bool:
    """Whether all that was noted is there as it was."""
    try:
        noted = read_json(folder / SEAL, dict, "")
    except (OSError, Unreadable):
        return False
    return bool(noted) and all(_now(folder / name) == fingerprint for name, fingerprint in noted.items())


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A sealed folder in a cache, made if it is not there as it was; `make` fills an empty one.

    Raises:
        UserError: the cache cannot be written.
    """
    if not sealed(folder):
        make_sealed(folder, make)
    return folder


def make_sealed(folder: Path, make: Callable[[Path], None]) -> None:
    """Make it, whatever is there; it appears only when all of it is complete."""
    with making(folder.parent) as scratch:
        made = scratch / "made"
        made.mkdir()
        make(made)
        seal(made)
        put(made, folder)


def put(made: Path, folder: Path) -> None:
    """Rename a sealed folder, of a scratch folder of its own, to where it belongs, unless another process was first.

    What lies there damaged goes, and a line says so.
    """
    try:
        made.rename(folder)
    except OSError:
        if sealed(folder):
            return
        warn(f"{folder}: not as it was written: it is made anew")
        with suppress(FileNotFoundError):  # gone already
            folder.rename(made.with_name("damaged"))
        if not sealed(folder):
            made.rename(folder)


def _fingerprint(file: Path) -> list[int]:
    """Bytes and their checksum; a picture's size alone: there may be very many, and decoding one tells the rest."""
    size = file.stat().st_size
    return [size] if file.suffix == ".png" else [size, zlib.crc32(file.read_bytes())]


def _now(file: Path) -> list[int] | None:
    try:
        return _fingerprint(file)
    except (OSError, ValueError):  # a name that no file can have
        return None
