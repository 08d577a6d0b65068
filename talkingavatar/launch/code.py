"""The code of a sweep, frozen when it is submitted: editing the checkout changes no run that waits."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from talkingavatar import __version__

OWN = ("talkingavatar", "conf")  # folders of which files that git does not know yet are taken along
COMPILED = "__pycache__/*.nb[ic]"  # numba's cache; valid for copies of the same age, saves half a minute a sweep


def facts() -> dict[str, Any]:
    """Which code is submitted."""
    root = checkout()
    return {
        "version": __version__,
        "commit": _git(root, "rev-parse", "HEAD") if root else None,
        "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no")) if root else None,
    }


def checkout() -> Path | None:
    """Root of the git checkout that the package is part of; None for an installed package, or without git."""
    package = Path(__file__).resolve().parent.parent
    known = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    root = _git(package, "rev-parse", "--show-toplevel")
    return Path(root) if known and root else None


def snapshot(target: Path) -> bool:
    """Copy the checkout as it is now, edits and new files included, as a git checkout of the same commit.

    So each run's own record of commit and uncommitted changes is that of the submission. False outside a checkout.
    """
    root = checkout()
    if root is None:
        return False
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    if _git(root, "clone", "--quiet", "--no-checkout", str(root), str(part)) is None:
        return False
    _git(part, "reset", "--quiet", _git(root, "rev-parse", "HEAD") or "HEAD")
    tracked = (_git(root, "ls-files", "-z") or "").split("\0")
    new = (_git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *OWN) or "").split("\0")
    compiled = [str(file.relative_to(root)) for file in (root / "talkingavatar").rglob(COMPILED)]
    for name in [*tracked, *new, *compiled]:
        if name and (root / name).is_file():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, part / name)
    part.rename(target)
    return True


def same(frozen: Path) -> bool:
    """Whether the checkout is still as it was when it was frozen."""
    root = checkout()
    return root is not None and _state(root) == _state(frozen)


def _state(root: Path) -> tuple[str | None, str]:
    difference = _git(root, "diff", "HEAD") or ""
    return _git(root, "rev-parse", "HEAD"), hashlib.sha256(difference.encode()).hexdigest()


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of git in a folder; None where it fails."""
    words = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
