"""Stages of a preprocessing: each in a folder of its own with a stamp, made once, continued after a stop.

A stage works in `<work>/<name>.partial/` and is renamed to `<work>/<name>/` when it is whole, so that what stands under
its name is never half-written. Its stamp holds its version, options and the keys of the stages it read; while that
is what would be written now, the stage is not run again. A partial folder is kept when a stage is stopped; one
that was begun for the same stamp is handed to the stage again, which may keep the whole files it finds there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from talkingavatar.errors import UserError
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.files import folder_for, write_atomically
from talkingavatar.runtime.lock import held
from talkingavatar.runtime.readers import healed, read_json

STAMP = "stamp.json"


@dataclass(frozen=True)
class Stage:
    """What decides a stage's result."""

    name: str
    version: int  # of the code: raise when the same inputs would give another result
    options: Mapping[str, Any] = field(default_factory=dict)  # plain values
    inputs: Mapping[str, str] = field(default_factory=dict)  # keys of earlier stages, checksums of files

    @property
    def key(self) -> str:
        """Digest of all that decides the result."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()[:16]

    def _content(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version, "options": dict(self.options), "inputs": dict(self.inputs)}

    def stamp(self, seconds: float | None = None) -> dict[str, Any]:
        """What the stamp file says; `seconds` is the work's length, over all its starts."""
        return self._content() | {"key": self.key, "seconds": seconds}


def run_stage(work: Path, stage: Stage, make: Callable[[Path], None]) -> Path:
    """The finished stage's folder; `make(folder)` fills it where it is not there yet."""
    folder, partial = work / stage.name, work / f"{stage.name}.partial"
    if key_of(folder) == stage.key:
        return folder
    if key_of(partial) != stage.key:
        remove(partial)
        partial.mkdir(parents=True)
        write_json(partial / STAMP, stage.stamp(0.0))
    before, began = seconds_of(partial), time.monotonic()
    try:
        make(partial)
    finally:
        write_json(partial / STAMP, stage.stamp(round(before + time.monotonic() - began, 1)))
    remove(folder)
    partial.rename(folder)
    return folder


def key_of(folder: Path) -> str | None:
    """The key in a folder's stamp, or None without one."""
    return _stamp(folder).get("key")


def seconds_of(folder: Path) -> float:
    """How long the work in a stamped folder took."""
    seconds = _stamp(folder).get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def remove(folder: Path) -> None:
    """Delete a folder where there is one; its stamp first, so that a stop half-way leaves nothing that looks whole."""
    if not (folder / STAMP).is_dir():
        (folder / STAMP).unlink(missing_ok=True)
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def write_json(file: Path, content: Any) -> None:
    """As JSON, whole or not there."""
    write_atomically(file, json.dumps(content, indent=1))


@contextmanager
def only_one(work: Path) -> Iterator[None]:
    """Hold a folder's lock.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    folder_for(work, "out", "give out=<folder>")
    with held(work, "out", "another preprocess", warn):
        yield


@contextmanager
def made_anew(folder: Path) -> Iterator[None]:
    """What goes wrong while a finished stage's files are read, they are to blame for.

    Raises:
        UserError: with what to do.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of json, numpy, torch, zipfile, soundfile
        reason = (str(error).splitlines() or [""])[0][:120]
        found = f"a damaged file in it ({type(error).__name__}: {reason})"
        raise UserError(str(folder), found, "a finished stage", "remove this folder: it is made anew") from error


def _stamp(folder: Path) -> dict[str, Any]:
    return healed(lambda: read_json(folder / STAMP, dict, ""), {}, warn)
