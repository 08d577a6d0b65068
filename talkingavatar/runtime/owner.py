"""Which process something belongs to, written so that a later one can tell whether it still lives."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process on some machine. A number of a process alone is given to others after it."""

    host: str
    machine: str  # of this start of the machine and, in a container, of its own table of processes
    pid: int
    began: int  # of the process, in the machine's ticks
    since: float  # when it took what it holds, seconds since the epoch
    job: str = ""  # of SLURM, which never runs one twice at a time
    restart: int = 0  # how often SLURM has started that job again

    @staticmethod
    def this() -> Owner:
        """The process that asks."""
        job, restart = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_RESTART_COUNT", "0")
        restarts = int(restart) if restart.isdecimal() else 0
        pid = os.getpid()
        return Owner(socket.gethostname(), _machine(), pid, _began(pid) or 0, time.time(), job, restarts)

    @staticmethod
    def of(content: object) -> Owner | None:
        """As it was written by `vars`; None for anything else."""
        try:
            owner = Owner(**content)  # type: ignore[arg-type]
        except TypeError:
            return None
        right = all(isinstance(getattr(owner, name), str) for name in ("host", "machine", "job"))
        right &= all(type(getattr(owner, name)) is int for name in ("pid", "began", "restart"))
        return owner if right and isinstance(owner.since, int | float) else None

    @property
    def process(self) -> str:
        """The process alone, as part of a file's name."""
        return f"{self.host}-{self.machine}-{self.pid}-{self.began}"

    def alive(self) -> bool | None:
        """Whether it still runs; None where that cannot be seen from here."""
        here = Owner.this()
        if (self.host, self.machine) == (here.host, here.machine):
            return _began(self.pid) == self.began
        if self.job and self.job == here.job and self.restart < here.restart:
            return False
        return None

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since)
        return f"on {self.host} since {since:%Y-%m-%d %H:%M:%S} (process {self.pid})"


@cache
def _machine() -> str:
    """Eight signs of the machine's start and eight of the table of processes that is seen; nothing where not told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        table = "".join(filter(str.isdigit, str(Path("/proc/self/ns/pid").readlink())))
    except OSError:
        return ""
    return boot[:8] + table[-8:]


def _began(pid: int) -> int | None:
    """When a process of this machine began; None where there is none, 0 where a system does not tell."""
    try:
        # Behind the program's name, which may hold anything but ends at the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0 if not Path("/proc/self/stat").exists() and _answers(pid) else None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
