"""What a disk says no to, as one line: no room, no permission, something else in the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from talkingavatar.errors import DiskFull, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BARRED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)


@contextmanager
def told_in_a_line(saved: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Turn a disk's refusals, also those behind another error, into a user's.

    Args:
        saved: says what stands on the disk, for one that is full.

    Raises:
        DiskFull: there is no room, or the quota is used up, or a file may not become as large.
        UserError: something may not be read or written, or is a folder where a file should be, or the reverse.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        if refusal.errno in FULL:
            action = f"make room, then start it again{saved()}"
            raise DiskFull("disk", _told(refusal), "room for what is written", action) from error
        name, reason = os.fsdecode(refusal.filename), refusal.strerror or "no reason"
        raise UserError(name, reason, "what may be used", "give another place, or change this one") from error


def _refusal(error: BaseException | None) -> OSError | None:
    """The disk's own error: of no room also behind what came of it, of no permission where it names a file."""
    if isinstance(error, OSError) and error.errno in BARRED and error.filename:
        return error
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def _told(error: OSError) -> str:
    reason = error.strerror or os.strerror(error.errno or 0)
    name = error.filename if error.filename2 is None else error.filename2
    return f"{os.fsdecode(name)}: {reason}" if isinstance(name, str | bytes) else reason
