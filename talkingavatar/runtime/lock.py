"""A lock as a file beside what it guards, on any file system that several machines share.

The system's own locks are not seen by other machines on many shared file systems, and on some not at all. Here a file
says who is at work (`Owner`). It appears in one go, by a hard link or, where there are none, by exclusive creation. Its
time is renewed while its owner works. It is taken over when its owner is gone: at once where the owner can be looked
for, else after its time has stood still for a while, as this process's own clock measures it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from talkingavatar.errors import UserError
from talkingavatar.runtime.owner import Owner
from talkingavatar.runtime.readers import Unreadable, read_json

NAME = ".lock"
BEAT = 10.0  # seconds between two signs of life
PATIENCE = 120.0  # seconds without one after which an owner that cannot be looked for is gone
OLD = 900.0  # the same by the clocks of two machines, which need not agree
LOOK = 1.0  # seconds between two looks at such an owner


class Lock:
    """Held by this process. `check` tells whether it still is."""

    def __init__(self, file: Path, owner: Owner) -> None:
        self.file, self.owner = file, owner
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True, name=f"beat of {file}")
        self.thread.start()

    def check(self) -> None:
        """
        Raises:
            UserError: another process took it over, while this one was suspended for minutes.
        """
        if (holder := _owner(self.file)) != self.owner:
            found = "nobody's" if holder is None else f"taken over by a start {holder}"
            raise UserError(str(self.file), found, "this process's, as at its start", "let the other go on")

    def release(self) -> None:
        self.done.set()
        self.thread.join()
        if _owner(self.file) == self.owner:
            with suppress(OSError):
                self.file.unlink()

    def _beat(self) -> None:
        while not self.done.wait(BEAT):
            with suppress(OSError):
                if _owner(self.file) == self.owner:
                    os.utime(self.file)


@contextmanager
def held(folder: Path, field: str, work: str, told: Callable[[str], None] = lambda message: None) -> Iterator[Lock]:
    """Hold the lock of a folder that exists.

    Args:
        field, work: what the user named the folder by, and what is done in it ("this run"), for the message.
        told: hears a line before another machine's lock is watched.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    file, owner = folder / NAME, Owner.this()
    try:
        while not _claim(file, owner):
            holder = _owner(file)
            if holder is not None and _lives(file, holder, told):
                action = "wait for it, or stop it first"
                raise UserError(field, f"{work} is under way {holder}", f"nobody at work in {folder}", action)
            _clear(file, holder)
        for left in folder.glob(f"{NAME}-*"):
            left.unlink(missing_ok=True)
    except OSError as error:
        found = f"{folder}: {error.strerror or error}"
        raise UserError(field, found, "a folder that can be written", "choose another") from error
    lock = Lock(file, owner)
    try:
        yield lock
    finally:
        lock.release()


def holder_of(folder: Path) -> Owner | None:
    """Who is at work in a folder as far as can be seen at once; None for nobody."""
    holder = _owner(folder / NAME)
    return None if holder is None or holder.alive() is False else holder


def _claim(file: Path, owner: Owner) -> bool:
    """Whether the lock was free and is this owner's now."""
    draft = file.with_name(f"{NAME}-{owner.process}")
    draft.write_text(json.dumps(asdict(owner)))
    try:
        os.link(draft, file)
    except FileExistsError:
        return _owner(file) == owner  # a link whose answer was lost on the way, and asked for again
    except FileNotFoundError:  # tidied away by who got it
        return False
    except OSError:  # no hard links here
        return _create(file, draft)
    finally:
        draft.unlink(missing_ok=True)
    return True


def _create(file: Path, draft: Path) -> bool:
    try:
        with file.open("x") as made:
            made.write(draft.read_text())
    except FileExistsError:
        return False
    return True


def _clear(file: Path, judged: Owner | None) -> None:
    """Take a lock away whose owner is gone, unless it is another's by now."""
    if judged is None and file.exists():
        time.sleep(LOOK)  # one that is being written
    if _owner(file) != judged:
        return
    aside = file.with_name(f"{NAME}-gone-{Owner.this().process}")
    with suppress(FileNotFoundError):
        file.rename(aside)
        if _owner(aside) != judged:
            with suppress(FileExistsError):
                os.link(aside, file)
        aside.unlink(missing_ok=True)


def _lives(file: Path, holder: Owner, told: Callable[[str], None]) -> bool:
    """Whether a holder is at work: looked for, or where that cannot be, watched until it gives a sign."""
    alive = holder.alive()
    if alive is not None:
        return alive
    first = _stamp(file)
    if first is None or time.time() - first / 1e9 > OLD:
        return False
    told(f"looking for {PATIENCE:.0f} s whether work {holder} goes on")
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if _owner(file) != holder:
            return False  # it ended, or another took it: try again
        if _stamp(file) != first:
            return True
        time.sleep(LOOK)
    return False


def _stamp(file: Path) -> int | None:
    try:
        with file.open("rb") as stream:  # opening asks the server; what is known of a file may be a minute old
            return os.fstat(stream.fileno()).st_mtime_ns
    except OSError:
        return None


def _owner(file: Path) -> Owner | None:
    """Who is written in a lock; None where there is none, or nothing that can be read."""
    try:
        return Owner.of(read_json(file, dict, ""))
    except (FileNotFoundError, Unreadable):
        return None
