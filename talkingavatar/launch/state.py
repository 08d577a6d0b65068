"""How each run of a sweep stands, read from small files only."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkingavatar.launch.expansion import Job
from talkingavatar.launch.folder import Attempts, SweepFolder
from talkingavatar.runtime.readers import Unreadable, is_number, journal_row, read_json

# SLURM's states before a start, or before the next one.
QUEUED = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT")
STATES = ("done", "running", "waiting", "preempted", "failed")
# Exit codes that want another start: 75 says so, the rest are warning signals that came before the fit could listen.
AGAIN = (
    75,
    *(128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)),
)
KILLED = 128 + signal.SIGKILL
KILLS = 3  # starts ended by SIGKILL (memory, a node) after which a run counts as failed
LATELY = 1800.0  # seconds; a run writes its status with every checkpoint
TAIL = 4096  # bytes read from the end of a log or journal


@dataclass(frozen=True)
class JobState:
    """A run at one moment. `preempted` is whatever stopped without failing: submitting again continues it."""

    job: Job
    state: str  # one of STATES
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    error: str = ""
    where: str = ""  # host or SLURM job
    queued: bool = False  # SLURM will start it: submitting again does not

    @property
    def share(self) -> float:
        """Part of the run that is done, 0 to 1."""
        return 1.0 if self.state == "done" else min(1.0, self.step / self.steps) if self.steps else 0.0


def states(folder: SweepFolder, jobs: Sequence[Job], queue: Mapping[str, tuple[str, str]] | None) -> list[JobState]:
    """Every run's state.

    Args:
        queue: by name of the run, what SLURM has of it: PENDING, RUNNING ..., and the job's id. None: it cannot be
            asked here, and a run that wrote of itself lately is taken for running.
    """
    locked = folder.locked()
    lately = time.time() - LATELY if queue is None else math.inf
    return [_state(folder, job, (queue or {}).get(job.name), locked, lately) for job in jobs]


def _state(folder: SweepFolder, job: Job, queued: tuple[str, str] | None, locked: bool, lately: float) -> JobState:
    attempts = folder.attempts(job)
    run = folder.run(job)
    status = _json(run / "status.json")
    step, steps = _steps(status)
    if status.get("state") == "finished":
        return JobState(job, "done", steps, steps)
    if queued is not None:
        slurm, number = queued
        if slurm in QUEUED:
            step, steps, _ = progress(run, step, steps)
            state = "preempted" if attempts.started else "waiting"
            return JobState(job, state, step, steps, where=f"queued {number}", queued=True)
        step, steps, left = progress(run, step, steps)
        return JobState(job, "running", step, steps, left, where=f"{number} {attempts.host}".strip())
    if attempts.started is None:
        return JobState(job, "waiting")
    step, steps, left = progress(run, step, steps)
    wrote = status.get("time")
    writes = max(attempts.started, wrote if isinstance(wrote, int | float) else 0.0) > lately
    if attempts.code is None and (writes or (locked and alive(attempts, run))):
        return JobState(job, "running", step, steps, left, where=attempts.host)
    if has_failed(attempts):
        error = str(status.get("error", "")) if status.get("state") == "failed" and attempts.code == 1 else ""
        return JobState(job, "failed", step, steps, error=error or last_error(folder.log(job), attempts.code))
    return JobState(job, "preempted", step, steps, where=attempts.host)


def has_failed(attempts: Attempts) -> bool:
    """Whether the last start ended in a way that another would repeat."""
    if attempts.code in (None, 0, *AGAIN):
        return False
    return attempts.killed >= KILLS if attempts.code == KILLED else True


def alive(attempts: Attempts, run: Path) -> bool:
    """Whether the process of the last start still runs; taken on trust for another host."""
    if attempts.host != socket.gethostname():
        return True
    return os.fsencode(str(run)) in command_line(attempts.pid)


def command_line(pid: int) -> bytes:
    """The words of a process on this machine, empty for none."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""
    listed = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, check=False)
    return listed.stdout


def progress(run: Path, step: int, steps: int) -> tuple[int, int, float | None]:
    """Step, steps and seconds left of a run, from the last whole line of its journal."""
    for line in reversed(_tail(run / "metrics.jsonl")):
        if not (row := journal_row(line)):
            continue
        step, rate = max(step, row["step"]), row.get("steps_per_s")
        return step, steps, (steps - step) / rate if is_number(rate) and rate > 0 and steps else None
    return step, steps, None


def share(run: Path) -> float:
    """Part of a run's steps that is done, 0 to 1."""
    status = _json(run / "status.json")
    step, steps, _ = progress(run, *_steps(status))
    return min(1.0, step / steps) if steps else 0.0


def last_error(log: Path, code: int | None) -> str:
    """The line of a log that tells most of why the run ended."""
    lines = [line.strip() for line in _tail(log) if line.strip()]
    if code == KILLED:
        return f"killed {KILLS} times (SIGKILL: out of memory?)"
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or [f"exit code {code}"])[-1].removeprefix("error: ")


def full_disk(run: Path, log: Path) -> str:
    """What a run that was saved says of a disk without room; empty where it ended for another reason."""
    told = [str(_json(run / "status.json").get("error", "")), last_error(log, None)]
    return next((text for text in told if text.startswith("disk: ")), "")


def _tail(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - TAIL))
            return stream.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _json(file: Path) -> dict[str, Any]:
    """A run's own word; nothing where there is none, or where it is damaged: the run writes it again."""
    try:
        return read_json(file, dict, "")
    except (FileNotFoundError, Unreadable):
        return {}


def _steps(status: Mapping[str, Any]) -> tuple[int, int]:
    """Done and in all."""
    step, steps = status.get("step"), status.get("steps")
    return step if type(step) is int else 0, steps if type(steps) is int else 0
