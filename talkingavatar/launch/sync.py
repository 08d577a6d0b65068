"""Offline W&B runs of a sweep to the server, later and from a machine that reaches it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from talkingavatar.engine.tracking.offline import files, mend, records
from talkingavatar.errors import UserError
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.state import JobState


def sync(folder: SweepFolder, states: Sequence[JobState], dry: bool) -> str:
    """Send each run's offline folders, in the order they were written: they carry one id and make one run.

    Args:
        states: of the runs; those under way are left for later, their files are still being written.
        dry: say what would be called.

    Raises:
        UserError: `wandb sync` fails. Runs sent before stay marked as sent.
    """
    told = []
    for state in states:
        name, parts = state.job.name, unsent(folder.run(state.job))
        if not parts:
            continue
        if state.state == "running":
            told.append(f"{name} is running: later")
            continue
        words = [sys.executable, "-m", "wandb", "sync", *map(str, parts)]
        if not dry:
            _send(name, words, parts)
        told.append(f"would run: {shlex.join(words)}" if dry else f"sent {name}")
    return "\n".join(told or ["nothing to send"])


def unsent(run: Path) -> list[Path]:
    """Offline folders of a run that `wandb sync` has not marked as sent, without those that a kill left empty."""
    return [
        file.parent
        for file in files(run)
        if file.parent.name.startswith("offline") and not any(file.parent.glob("*.synced")) and any(records(file))
    ]


def _send(name: str, words: list[str], parts: list[Path]) -> None:
    """What `wandb sync` prints is seen as it comes: a server that does not answer is waited for until Ctrl-C."""
    for part in parts:
        for file in part.glob("*.wandb"):
            mend(file)
    try:
        code = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, cwd=parts[0]).returncode  # it logs there
    except KeyboardInterrupt:
        code = 130
    # Its exit code is 0 for files that it gave up, too.
    unmarked = sum(not any(part.glob("*.synced")) for part in parts)
    if code or unmarked:
        found = f"exit code {code} of wandb sync, {unmarked} of {len(parts)} folders not sent"
        raise UserError(f"sync: {name}", found, "all of them", "see above; perhaps `wandb login`")
