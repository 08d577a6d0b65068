"""Offline W&B runs of a sweep to the server, later and from a machine that reaches it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from talkingavatar.errors import UserError
from talkingavatar.launch.folder import SweepFolder


def sync(folder: SweepFolder, dry: bool) -> str:
    """Send each run's offline folders, in the order they were written: they carry one id and make one run.

    Args:
        dry: say what would be called.

    Raises:
        UserError: `wandb sync` fails. Runs sent before stay marked as sent.
    """
    told = []
    for job in folder.jobs():
        parts = unsent(folder.run(job))
        if not parts:
            continue
        words = [sys.executable, "-m", "wandb", "sync", *map(str, parts)]
        if not dry:
            _call(job.name, words)
        told.append(f"would run: {shlex.join(words)}" if dry else f"sent {job.name}")
    return "\n".join(told or ["nothing to send"])


def unsent(run: Path) -> list[Path]:
    """Offline folders of a run that `wandb sync` has not marked as sent."""
    found = sorted(run.glob("wandb/offline-run-*"))
    return [part for part in found if any(part.glob("*.wandb")) and not any(part.glob("*.synced"))]


def _call(name: str, words: list[str]) -> None:
    """What `wandb sync` prints is seen as it comes: a server that does not answer is waited for until Ctrl-C."""
    try:
        code = subprocess.run(words, check=False, stdin=subprocess.DEVNULL).returncode
    except KeyboardInterrupt:
        code = 130
    if code:
        raise UserError(f"sync: {name}", f"exit code {code} of wandb sync", "0", "see above; perhaps `wandb login`")
