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
from talkingavatar.launch import arrays, code, slurm
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.state import JobState, states
from talkingavatar.launch.table import listing
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.files import write_atomically
from talkingavatar.runtime.lock import held
from talkingavatar.runtime.readers import Unreadable, healed, read_json

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
    queued = arrays.queue(folder)
    if queued is None:
        warn("no squeue on PATH: what SLURM has of this sweep is not known here; ask on the login node")
    return states(folder, folder.jobs() if jobs is None else jobs, queued)


def refuse_while_running(folder: SweepFolder) -> None:
    """
    Raises:
        UserError: a run is under way.
    """
    under_way = [s for s in current(folder) if s.state == "running" or s.queued] if folder.record.is_file() else []
    if under_way or folder.locked():
        raise UserError("fresh", f"{len(under_way)} runs under way", "none", "`cancel` the sweep first")


def plan(folder: SweepFolder, jobs: Sequence[Job], launcher: Launcher) -> str:
    """What `start` would do, in words; nothing is written."""
    lines = [listing(jobs)] if jobs else []
    if launcher.name == "slurm" and jobs:
        where = folder.launch / "submissions" / "<n>"
        profile, size = launcher.slurm_profile(), arrays.largest()
        lanes = max(1, profile.at_once // size) if profile.at_once else len(jobs)
        for place, part in enumerate(arrays.pieces(jobs, size)):
            after = f"<array {place - lanes + 1}>" if place >= lanes else ""
            words = arrays.command(folder, profile, where, folder.name, len(part), after)
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
        _note_launcher(folder, launcher)
        numbers = arrays.submit(folder, jobs, launcher.slurm_profile(), source)
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


def launched_with(folder: SweepFolder, named: bool) -> dict[str, Any]:
    """Launcher, profile and runs at a time (None: not told) of the last submission.

    Args:
        named: the user says which launcher; what was noted of the last one can be done without.

    Raises:
        Unreadable: the note is damaged: runs would start who knows where.
    """
    first = {"launcher": "local", "profile": "default", "jobs": None}
    return first | (healed(lambda: _launcher_of(folder), {}, warn) if named else _launcher_of(folder))


def _launcher_of(folder: SweepFolder) -> dict[str, Any]:
    """What `_note_launcher` wrote; nothing where nothing was submitted.

    Raises:
        Unreadable: it is damaged.
    """
    file = folder.launch / "launcher.json"
    action = "say launcher=local or launcher=slurm, which writes it anew"
    try:
        noted = read_json(file, dict, action)
    except FileNotFoundError:
        return {}
    jobs, texts = noted.get("jobs"), [noted.get(name) for name in ("profile", "host")]
    whole = noted.get("launcher") in ("local", "slurm") and all(isinstance(text, str) for text in texts)
    if not whole or type(noted.get("pid")) is not int or not (jobs is None or (type(jobs) is int and jobs > 0)):
        raise Unreadable(str(file), f"{noted}"[:80], "what the sweep was submitted with", action)
    return noted


def cancel(folder: SweepFolder) -> str:
    """Stop what runs or is queued, so that it can be continued later; what was done, in words."""
    from talkingavatar.launch.local import stop_runs

    count = arrays.cancel(folder)
    if count:
        return f"cancelled {count} runs on SLURM"
    if not folder.locked():
        return "nothing runs"
    content = healed(lambda: _launcher_of(folder), {}, warn)
    host = content.get("host")
    if host != socket.gethostname():
        found = f"a launcher on {host or 'a machine that nobody noted'}"
        raise UserError("cancel", found, "one on this machine", "run the command there")
    return stop_runs(folder, content["pid"])


def _note_launcher(folder: SweepFolder, launcher: Launcher) -> None:
    content = {
        "launcher": launcher.name, "profile": launcher.profile, "jobs": launcher.at_once,
        "host": socket.gethostname(), "pid": os.getpid(),
    }  # fmt: skip
    write_atomically(folder.launch / "launcher.json", json.dumps(content))
