"""Files that are whole or not there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from talkingavatar.errors import UserError


@contextmanager
def whole(file: Path, durable: bool = True) -> Iterator[Path]:
    """Another name to write to, with the same ending; what stands there becomes `file` at the end.

    Killed or failed anywhere, the old content stands or the new, also after a power cut, and of a failure no half of
    a file is left.

    Args:
        durable: wait for the disk; not for what is many and can be made anew.
    """
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.tmp{file.suffix}")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
        temporary.replace(file)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError) and not file.parent.is_dir():
            raise UserError(str(file.parent), "no such folder any more", "the one at work in", "start again") from error
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(file)  # a full disk's own error names none, that of a folder in the way the other name
        raise


def write_atomically(file: Path, content: str | bytes) -> None:
    """Either the old content or the new, whatever is killed when."""
    with whole(file) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def folder_for(place: Path, field: str, action: str) -> Path:
    """The folder, made if it is not there.

    Args:
        field, action: what a user named it by, and what to do where it cannot be.

    Raises:
        UserError: it cannot be made, or not be written.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(None, "no permission to write in it")
    except OSError as error:
        raise UserError(field, f"{place}: {error.strerror}", "a folder that can be written", action) from error
    return place


def sha256(file: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
