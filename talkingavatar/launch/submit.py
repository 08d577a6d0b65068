"""Submitting a sweep: freeze its expansion, start what is neither done nor under way."""

from __future__ import annotations

import json
import os
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkingavatar.errors import UserError
from talkingavatar.launch import code, slurm
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.state import JobState, states
from talkingavatar.launch.table import listing
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.files import write_atomically
from talkingavatar.runtime.lock import held
from talkingavatar.runtime.readers import healed, read_json

STARTED = ("waiting", "preempted")  # what `submit` starts; `retry` starts what failed


@dataclass(frozen=True)
class Launcher:
    """Where and how runs are started."""

    name: str = "local"  # local | slurm
    at_once: int | None = None  # runs at a time; None: one a GPU, or one
    profile: str = "default"
    profile_changes: tuple[str, ...] = ()
    progress: bool = True
    code: str = "frozen"  # frozen: as first submitted | current: the checkout as it is now

    def check(self, dry: bool) -> None:
        """
        Raises:
            UserError: SLURM is asked for, but the profile is wrong, or (unless `dry`) there is no sbatch here.
        """
        if self.name == "slurm":
            self.slurm_profile()
            if not dry:
                slurm.require("sbatch")

    def slurm_profile(self) -> slurm.Profile:
        profile = slurm.read_profile(self.profile, self.profile_changes)
        if self.at_once is not None:
            profile.at_once = self.at_once
        return profile


def current(folder: SweepFolder, jobs: Sequence[Job] | None = None) -> list[JobState]:
    """How every submitted run stands now, or every one of these."""
    return states(folder, folder.jobs() if jobs is None else jobs, slurm.queue(folder))


def refuse_while_running(folder: SweepFolder) -> None:
    """
    Raises:
        UserError: a run is under way.
    """
    under_way = (
        [s for s in current(folder) if s.state == "running" or s.where.startswith("queued")]
        if folder.record.is_file()
        else []
    )
    if under_way or folder.locked():
        raise UserError("fresh", f"{len(under_way)} runs under way", "none", "`cancel` the sweep first")


def plan(folder: SweepFolder, jobs: Sequence[Job], launcher: Launcher) -> str:
    """What `start` would do, in words; nothing is written."""
    lines = [listing(jobs)] if jobs else []
    if launcher.name == "slurm" and jobs:
        where = folder.launch / "submissions" / "<n>"
        for first in range(0, len(jobs), slurm.ARRAY):
            words = slurm.command(folder, jobs[first : first + slurm.ARRAY], launcher.slurm_profile(), where)
            lines.append(f"would run: {shlex.join(words)}")
    return "\n".join([*lines, f"would start {len(jobs)} runs in {folder.path}"])


def code_of(folder: SweepFolder, which: str) -> Path | None:
    """The copy of the code that runs are started from, made where there is none; None: the installed package."""
    kept = folder.code()
    if kept is not None and which == "frozen":
        if not code.same(kept):
            print("code: as first submitted; the checkout has changed since (code=current takes it)")
        return kept
    if kept is not None and code.same(kept):
        return kept
    target = folder.launch / "code" / str(1 + int(kept.name) if kept else 1)
    if code.snapshot(target):
        return target
    print("code: not a git checkout, the installed package is used as it is")
    return None


def start(folder: SweepFolder, jobs: Sequence[Job], launcher: Launcher) -> int:
    """Start runs; the exit code of the command: 0, 1 where runs failed, 75 where a signal stopped the launcher."""
    if launcher.name == "slurm":
        source = code_of(folder, launcher.code)
        numbers = slurm.submit(folder, jobs, launcher.slurm_profile(), source)
        _note_launcher(folder, launcher)
        print(f"submitted {len(jobs)} runs to SLURM as {', '.join(numbers)}")
        return 0
    return _start_here(folder, jobs, launcher)


def _start_here(folder: SweepFolder, jobs: Sequence[Job], launcher: Launcher) -> int:
    from talkingavatar.launch.local import LocalRuns, gpus
    from talkingavatar.launch.progress import SweepProgress
    from talkingavatar.runtime.signals import stop_flag

    lock = folder.lock()
    if lock is None:
        raise UserError(
            "sweep", f"a launcher, or runs it left behind, at work in {folder.path}", "one launcher of a sweep",
            "look with `status`, wait, or `cancel` it",
        )  # fmt: skip
    _note_launcher(folder, launcher)
    total = len(folder.jobs())
    done = sum(state.state == "done" for state in current(folder))
    at_once = launcher.at_once or max(1, len(gpus()))
    try:
        # The system's lock is passed on to the runs; this one other machines see, too.
        with (
            held(folder.launch, "sweep", "a launcher of this sweep", warn),
            stop_flag() as flag,
            SweepProgress(total, done, launcher.progress) as show,
        ):
            source = code_of(folder, launcher.code)
            runs = LocalRuns(folder, lock, min(at_once, len(jobs)), flag, show, source)
            runs.work(jobs)
    finally:
        os.close(lock)
    if runs.stopped:
        print("stopped; submit again to continue")
        return 75
    return 1 if runs.failed else 0


def launched_with(folder: SweepFolder) -> tuple[str, str]:
    """Launcher and profile of the last submission."""
    content = _launcher_of(folder)
    return str(content.get("launcher", "local")), str(content.get("profile", "default"))


def _launcher_of(folder: SweepFolder) -> dict[str, Any]:
    """What `_note_launcher` wrote; each submission writes it anew."""
    file = folder.launch / "launcher.json"
    action = "submit again with launcher=..., which writes it anew"
    return healed(lambda: read_json(file, dict, action), {}, warn)


def cancel(folder: SweepFolder) -> str:
    """Stop what runs or is queued, so that it can be continued later; what was done, in words."""
    from talkingavatar.launch.local import stop_runs

    count = slurm.cancel(folder)
    if count:
        return f"cancelled {count} runs on SLURM"
    if not folder.locked():
        return "nothing runs"
    content = _launcher_of(folder)
    host, pid = content.get("host"), content.get("pid")
    if host != socket.gethostname():
        found = f"a launcher on {host or 'a machine that nobody noted'}"
        raise UserError("cancel", found, "one on this machine", "run the command there")
    return stop_runs(folder, pid if isinstance(pid, int) else 0)


def _note_launcher(folder: SweepFolder, launcher: Launcher) -> None:
    content = {
        "launcher": launcher.name, "profile": launcher.profile, "host": socket.gethostname(), "pid": os.getpid(),
    }  # fmt: skip
    write_atomically(folder.launch / "launcher.json", json.dumps(content))
