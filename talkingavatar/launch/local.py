"""Runs of a sweep on this machine: some at a time, cores and GPUs shared out between them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from talkingavatar.errors import DiskFull
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.progress import SweepProgress
from talkingavatar.launch.state import AGAIN, alive, command_line, full_disk, has_failed, last_error, share
from talkingavatar.runtime.signals import StopFlag

POLL = 0.2  # seconds between looks at the running processes
SIGTERM_AGAIN = 10.0  # seconds after which a run that does not stop is told again


def gpus() -> list[str]:
    """CUDA devices that may be used, by the driver's own list: torch is not asked."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    return [str(n) for n, line in enumerate(x for x in listed.stdout.splitlines() if x.startswith("GPU "))]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def python_path(code: Path | None) -> dict[str, str]:
    """Environment in which `python -m talkingavatar.fit` finds the frozen package, in whatever folder it is started."""
    if code is None:
        return {}
    given = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(code), *([given] if given else [])]), "PYTHONSAFEPATH": "1"}


@dataclass
class LocalRuns:
    """The queue of one launcher.

    Args:
        lock: the sweep's lock, handed on to every run, so that it is held while any of them lives.
        at_once: runs at a time.
        code: the frozen checkout that runs are started from; None: the installed package.
    """

    folder: SweepFolder
    lock: int
    at_once: int
    flag: StopFlag
    show: SweepProgress
    code: Path | None = None
    devices: list[str] = field(default_factory=gpus)
    running: dict[int, tuple[Job, subprocess.Popen[bytes]]] = field(default_factory=dict)  # by slot
    failed: list[str] = field(default_factory=list)
    stopped: bool = False
    told: float = 0.0  # when the runs were last told to stop

    def work(self, jobs: Sequence[Job]) -> None:
        """Run all jobs to their ends; a failing one does not stop the others, a warning signal stops all."""
        waiting = deque(jobs)
        while self.running or (waiting and not self.stopped):
            try:
                self._fill(waiting)
                time.sleep(POLL)
                self._collect(waiting)
                self.show.update([share(self.folder.run(job)) for job, _ in self.running.values()])
            except KeyboardInterrupt:
                self.stopped = True
            if self.flag.signal is not None:
                self.stopped = True
            if self.stopped and time.monotonic() - self.told > SIGTERM_AGAIN:
                self.told = time.monotonic()
                for _, process in self.running.values():
                    process.terminate()

    def _fill(self, waiting: deque[Job]) -> None:
        for slot in range(self.at_once):
            if slot not in self.running and waiting and not self.stopped:
                job = waiting.popleft()
                self.running[slot] = (job, self._start(job, slot))

    def _start(self, job: Job, slot: int) -> subprocess.Popen[bytes]:
        arguments = self.folder.arguments(job)
        if not any(text.startswith("trainer.threads=") for text in arguments):
            arguments.append(f"trainer.threads={max(1, cores() // self.at_once)}")
        environment = os.environ | {"PYTHONUNBUFFERED": "1"} | python_path(self.code)
        if self.devices:
            environment["CUDA_VISIBLE_DEVICES"] = self.devices[slot % len(self.devices)]
        with self.folder.log(job).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "talkingavatar.fit", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(self.lock,),
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which warns the runs
            )
        self.folder.note_start(job, process.pid)
        return process

    def _collect(self, waiting: deque[Job]) -> None:
        for slot, (job, process) in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[slot]
            code = 128 - code if code < 0 else code
            self.folder.note_exit(job, code)
            if code == 0:
                self.show.finished(job.name)
            elif has_failed(self.folder.attempts(job)):
                self.failed.append(job.name)
                self.show.failed(job.name, last_error(self.folder.log(job), code))
            elif code == DiskFull.code and (reason := full_disk(self.folder.run(job), self.folder.log(job))):
                self.stopped = True  # the others' disk, too; what is saved goes on when there is room
                self.show.note(f"{job.name}: {reason}")
            elif not self.stopped:
                waiting.append(job)
                self.show.note(f"{job.name}: {'saved' if code in AGAIN else 'killed'}, started again")


def stop_runs(folder: SweepFolder, launcher: int) -> str:
    """Warn a launcher of this machine, or the runs it left behind; what was done, in words."""
    if b"talkingavatar.sweep" in command_line(launcher):
        os.kill(launcher, signal.SIGTERM)
        return f"told the launcher ({launcher}) to stop: its runs save and end"
    told = 0
    for job in folder.jobs():
        attempts = folder.attempts(job)
        if attempts.code is None and attempts.pid and alive(attempts, folder.run(job)):
            os.kill(attempts.pid, signal.SIGTERM)
            told += 1
    return f"told {told} runs without a launcher to save and end"
