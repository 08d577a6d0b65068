"""The folder of a sweep: its runs side by side, and what was submitted.

```
<runs root>/<sweep>/
  sweep.json          the frozen expansion: name, file, method, metric, parameters, fixed, version, commit, dirty,
                      submitted (seconds since the epoch), jobs [{name, overrides}]
  <run>/              a run directory of fit (see talkingavatar/engine/run/directory.py), one a job
  _launch/
    attempts/<run>    one line a start and an end: `start <time> <host> <pid>`, `exit <code> <time>`
    logs/<run>.log    what the run printed, all attempts
    launcher.json     launcher, profile, host and pid of the last submission
    code/<n>/         the checkout as it was submitted, edits included; more than one after code=current
    submissions/<n>/  what went to SLURM: jobs.tsv, environment.sh, array.sh, job.json
    lock              held by the launcher of this machine and by the runs that it started
```
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkingavatar.config.quoting import hydra_text
from talkingavatar.engine.run.contents import check_ours, empty
from talkingavatar.errors import UserError
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.sweep_file import Sweep
from talkingavatar.runtime.files import write_atomically
from talkingavatar.runtime.readers import Unreadable, read_json

# A line of a run's attempts; a line cut off by a kill, or written by something else, is none.
ATTEMPT = re.compile(r"start (?P<started>\d{1,18}) (?P<host>\S+) (?P<pid>\d{1,9})|exit (?P<code>\d{1,9}) \d+")


@dataclass(frozen=True)
class Attempts:
    """How the starts of a run went."""

    started: float | None = None  # time of the last start, seconds since the epoch
    host: str = ""
    pid: int = 0
    code: int | None = None  # exit code of the last start; None while it lasts, or when nobody saw its end
    killed: int = 0  # starts that ended by SIGKILL


class SweepFolder:
    """One sweep on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.launch = self.path / "_launch"
        self.record = self.path / "sweep.json"

    @property
    def name(self) -> str:
        return self.path.name

    def run(self, job: Job) -> Path:
        """The run directory of a job."""
        return self.path / job.name

    def log(self, job: Job) -> Path:
        return self.launch / "logs" / f"{job.name}.log"

    def code(self) -> Path | None:
        """The newest frozen copy of the code."""
        copies = [path for path in (self.launch / "code").glob("*") if path.name.isdecimal()]
        return max(copies, key=lambda path: int(path.name), default=None)

    def arguments(self, job: Job) -> list[str]:
        """What `talkingavatar.fit` is started with."""
        group = [] if any(o.startswith("tracking.group=") for o in job.overrides) else [f"tracking.group={self.name}"]
        return [*job.overrides, *group, f"run.path={hydra_text(str(self.run(job)))}"]

    def jobs(self) -> list[Job]:
        """The frozen runs.

        Raises:
            UserError: nothing was submitted here, or its record is damaged.
        """
        if not self.record.is_file():
            raise UserError(
                "sweep", f"nothing submitted in {self.path}", "a sweep that was submitted", "submit it first"
            )
        action = "restore it, or submit the sweep file under another name="
        listed = read_json(self.record, dict, action).get("jobs")
        if not isinstance(listed, list) or not listed or not all(map(_is_job, listed)):
            raise Unreadable(str(self.record), "no list of runs", "jobs with a name and overrides each", action)
        jobs = [Job(job["name"], tuple(job["overrides"])) for job in listed]
        if len({job.name for job in jobs}) < len(jobs):
            raise Unreadable(str(self.record), "two runs of one name", "a name for each", action)
        return jobs

    def freeze(self, sweep: Sweep, jobs: Sequence[Job], facts: dict[str, Any], force: bool, write: bool = True) -> None:
        """Write the expansion down, or find it unchanged; with `write=False` only compare.

        Raises:
            UserError: another expansion stands there and `force` does not replace it, or a run of other overrides
                stands in the way.
        """
        if self.record.is_file():
            old = self.jobs()
            if changed := _changes(old, jobs):
                if not force:
                    raise UserError(
                        str(sweep.file), f"{changed} since it was submitted to {self.path}", "the sweep as submitted",
                        "undo the edit, give name=<another>, or accept it with force=true (fresh=true starts anew)",
                    )  # fmt: skip
                self._refuse_others(old, jobs)
            else:
                return
        if not write:
            return
        for folder in ("attempts", "logs", "submissions"):
            (self.launch / folder).mkdir(parents=True, exist_ok=True)
        content = {
            "name": self.name,
            "file": str(sweep.file),
            "method": sweep.method,
            "metric": sweep.metric,
            "parameters": list(sweep.parameters),
            "fixed": list(sweep.fixed),
            **facts,
            "submitted": time.time(),
            "jobs": [{"name": job.name, "overrides": list(job.overrides)} for job in jobs],
        }
        write_atomically(self.record, json.dumps(content, indent=1))

    def _refuse_others(self, old: Sequence[Job], new: Sequence[Job]) -> None:
        before = {job.name: job.overrides for job in old}
        others = [job for job in new if before.get(job.name, job.overrides) != job.overrides and self.run(job).exists()]
        if others:
            raise UserError(
                "force", f"{len(others)} runs in {self.path} that other overrides made, the first {others[0].name}",
                "runs of the sweep as it is now", "give name=<another>, or fresh=true to remove them",
            )  # fmt: skip

    def clear(self) -> None:
        """Remove the submission and its runs; nothing else that lies in the folder.

        Raises:
            UserError: a run's folder holds what no run writes, or the record does not tell which are the runs; then
                nothing is removed.
        """
        if not self.record.exists():
            return
        runs = [run for run in map(self.run, self.jobs()) if run.exists()]
        for run in runs:
            check_ours(run, "fresh", known=True)
        for run in runs:
            empty(run, "fresh", known=True)
            shutil.rmtree(run)  # what is left is its lock
        shutil.rmtree(self.launch, ignore_errors=True)
        self.record.unlink(missing_ok=True)

    def note_start(self, job: Job, pid: int) -> None:
        self._note(job, f"start {time.time():.0f} {socket.gethostname()} {pid}")

    def note_exit(self, job: Job, code: int) -> None:
        self._note(job, f"exit {code} {time.time():.0f}")

    def _note(self, job: Job, line: str) -> None:
        with (self.launch / "attempts" / job.name).open("a") as file:
            file.write(line + "\n")

    def attempts(self, job: Job) -> Attempts:
        """What is known of a run's starts."""
        try:
            lines = (self.launch / "attempts" / job.name).read_text(errors="replace").splitlines()
        except OSError:
            return Attempts()
        noted = [found for line in lines if (found := ATTEMPT.fullmatch(line))]
        ends = [int(found["code"]) for found in noted if found["code"]]
        starts = [found for found in noted if found["host"]]
        if not starts:
            return Attempts()
        last, code = starts[-1], noted[-1]["code"]
        ended = int(code) if code else None
        return Attempts(float(last["started"]), last["host"], int(last["pid"]), ended, ends.count(128 + signal.SIGKILL))

    def forget_attempts(self, job: Job) -> None:
        """A failed run gets a clean slate."""
        (self.launch / "attempts" / job.name).unlink(missing_ok=True)

    def lock(self) -> int | None:
        """Descriptor of the launcher's lock, to be passed on to the runs; None: another holds it."""
        self.launch.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.launch / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def locked(self) -> bool:
        """Whether a launcher, or a run that it started, is alive on this machine; nothing is written."""
        try:
            descriptor = os.open(self.launch / "lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False


def _is_job(found: Any) -> bool:
    """Whether it says what a run is called, in one folder's name, and what it overrides."""
    if not isinstance(found, dict) or not isinstance(found.get("overrides"), list):
        return False
    name = found.get("name")
    plain = isinstance(name, str) and name not in ("", ".", "..") and not set(name) & {"/", "\0"}
    return plain and all(isinstance(text, str) for text in found["overrides"])


def _changes(old: Sequence[Job], new: Sequence[Job]) -> str:
    """In words, empty for none."""
    before, after = {job.name: job.overrides for job in old}, {job.name: job.overrides for job in new}
    counts = {
        "added": len(after.keys() - before.keys()),
        "gone": len(before.keys() - after.keys()),
        "changed": sum(before[name] != after[name] for name in before.keys() & after.keys()),
    }
    return ", ".join(f"{count} runs {what}" for what, count in counts.items() if count)
