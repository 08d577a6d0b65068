"""Offline W&B runs of a sweep to the server, later and from a machine that reaches it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from talkingavatar.errors import UserError
from talkingavatar.launch.folder import SweepFolder

TIMEOUT = 3600  # seconds for one run's media and history


def sync(folder: SweepFolder, dry: bool) -> str:
    """Send each run's offline folders, in the order they were written: they carry one id and make one run.

    Args:
        dry: say what would be called.

    Raises:
        UserError: `wandb sync` fails; its last line is passed on. Runs sent before stay marked as sent.
    """
    told = []
    for job in folder.jobs():
        parts = unsent(folder.run(job))
        if not parts:
            continue
        words = [sys.executable, "-m", "wandb", "sync", "--append", *map(str, parts)]
        if not dry:
            _call(job.name, words)
        told.append(f"would run: {shlex.join(words)}" if dry else f"sent {job.name}")
    return "\n".join(told or ["nothing to send"])


def unsent(run: Path) -> list[Path]:
    """Offline folders of a run that `wandb sync` has not marked as sent."""
    found = sorted(run.glob("wandb/offline-run-*"))
    return [part for part in found if any(part.glob("*.wandb")) and not any(part.glob("*.synced"))]


def _call(name: str, words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise UserError(f"sync: {name}", lines[-1] if lines else "no answer", "a server that takes it", "`wandb login`")
