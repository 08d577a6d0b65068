"""Folders that appear whole: made beside their place under a name that tells who makes them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from talkingavatar.runtime.files import folder_for
from talkingavatar.runtime.owner import Owner

PREFIX = ".making-"
OLD = 86_400.0  # seconds after which what a maker left that cannot be looked for is given up


@contextmanager
def making(parent: Path, field: str = "cache", action: str = "set $TALKINGAVATAR_CACHE") -> Iterator[Path]:
    """An empty folder in `parent`, to be filled and renamed or moved from; what is left in it is removed at the end.

    What a killed maker left is removed before.

    Args:
        field, action: what a user named the parent by, and what to do where it cannot be written.

    Raises:
        UserError: the parent cannot be written.
    """
    folder_for(parent, field, action)
    for left in parent.glob(f"{PREFIX}*"):
        if _given_up(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{Owner.this().process}-", dir=parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _given_up(folder: Path) -> bool:
    """Whether its maker is gone; one on another machine, or of a name that does not tell, counts as gone in a day."""
    parts = folder.name.removeprefix(PREFIX).rsplit("-", 4)
    if len(parts) == 5 and parts[2].isdecimal() and parts[3].isdecimal():
        maker = Owner(parts[0], parts[1], int(parts[2]), int(parts[3]), 0.0)
        if (alive := maker.alive()) is not None:
            return not alive
    with suppress(OSError):
        return time.time() - folder.stat().st_mtime > OLD
    return False
