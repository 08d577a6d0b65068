"""Runs of a sweep as job arrays: as large as the cluster takes, as many at a time as was asked for, none of them lost.

What goes to SLURM is written down before it goes, under a job name of its own (`job.json`: id, cluster, title, jobs,
time), so that an array whose number nobody saw (sbatch killed, no answer, a refusal that was none) is found again.

Not more than `at_once` runs at a time: arrays stand in as many lanes as fit beside each other, each behind the one
before it in its lane (`afterany`), and the first ones behind all that the sweep has in the queue already.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from talkingavatar.errors import UserError
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.slurm import Profile, call, options, prepare, require
from talkingavatar.runtime.files import write_atomically
from talkingavatar.runtime.readers import Unreadable, read_json

REMOVE = "remove its folder, once `squeue` shows nothing of it"
USUAL = 1000  # tasks of an array where the cluster does not tell: SLURM's MaxArraySize is 1001 unless raised
ASKED = 10  # seconds for the cluster's own limits
# What sbatch prints, as it is asked to or, through a site's own wrapper, as it is used to.
NUMBER = re.compile(r"(\d+)(?:;(\S+))?|Submitted batch job (\d+)(?: on cluster (\S+))?")
# What squeue lists for some minutes more, or for as long as a user likes.
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
}  # fmt: skip
# After these words of sbatch's, SLURM may take the array all the same.
UNSURE = re.compile(r"no answer|timed out|zero bytes|the number of a job", re.I)
# A smaller array may pass: the words of SLURM's refusals of arrays too long, or of more tasks than a user may submit.
TOO_MANY = re.compile(
    r"Invalid job array specification|Submit(Jobs?)?(Per\w+)?Limit|job submit limit|MaxJobCount|temporarily un", re.I
)


# All of a user's tasks, one a line. Old versions do not know --me; a variable may hide some states.
LISTED = ("-h", "-r", f"--user={os.getuid()}", "--states=all", "-o", "%F %K %T %j")


@dataclass(frozen=True)
class Submission:
    """One array that went to SLURM, or was about to."""

    folder: Path
    title: str  # its job name, of no other
    jobs: tuple[str, ...]  # runs by the index of their task
    number: str = ""  # SLURM's; empty: nobody saw it yet
    cluster: str = ""  # in a federation

    def write(self, number: str, cluster: str = "") -> None:
        content = {"id": number, "cluster": cluster, "title": self.title, "jobs": self.jobs, "time": time.time()}
        write_atomically(self.folder / "job.json", json.dumps(content))


def submissions(folder: SweepFolder) -> list[Submission]:
    """All arrays of a sweep, in the order in which they were submitted."""
    found = []
    files = [file for file in folder.launch.glob("submissions/*/job.json") if file.parent.name.isdecimal()]
    for file in files:
        content = read_json(file, dict, REMOVE)
        jobs, texts = content.get("jobs"), [content.get(name) for name in ("id", "title", "cluster")]
        if not isinstance(jobs, list) or not all(isinstance(text, str) for text in [*jobs, *texts]):
            raise Unreadable(str(file), "a damaged file", "what was submitted", REMOVE)
        number, title, cluster = texts
        if number and not number.isdecimal():
            raise Unreadable(str(file), f"the number {number!r}", "one of SLURM's", REMOVE)
        found.append(Submission(file.parent, title, tuple(jobs), number, cluster))
    return sorted(found, key=lambda each: int(each.folder.name))


def largest() -> int:
    """Tasks that an array may have on this cluster.

    Raises:
        UserError: the cluster takes no arrays.
    """
    if shutil.which("scontrol") is None:
        return USUAL
    try:
        told = call("scontrol", "show", "config", seconds=ASKED)
    except UserError:
        return USUAL
    limits = {name: int(value) for name, value in re.findall(r"^(MaxArraySize|MaxJobCount)\s*=\s*(\d+)", told, re.M)}
    if limits.get("MaxArraySize") == 0:
        raise UserError("launcher", "a cluster with MaxArraySize=0", "job arrays", "ask who runs it, or launcher=local")
    return max(1, min(limits.get("MaxArraySize", USUAL), limits.get("MaxJobCount", USUAL)))


def command(folder: SweepFolder, profile: Profile, submission: Path, title: str, count: int, after: str) -> list[str]:
    """The call of sbatch that submits so many runs as one array.

    Args:
        after: arrays that must have ended before, by their numbers with colons between.
    """
    return [
        "sbatch", "--parsable", *options(profile, title, count), *([f"--dependency=afterany:{after}"] if after else []),
        f"--output={str(submission).replace('%', '%%')}/slurm-%a.log", str(submission / "array.sh"), str(submission),
    ]  # fmt: skip


def pieces(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    """Runs in arrays of at most so many."""
    return (jobs[first : first + size] for first in range(0, len(jobs), size))


def submit(folder: SweepFolder, jobs: Sequence[Job], profile: Profile, code: Path | None) -> list[str]:
    """Submit runs; the numbers of the arrays.

    Args:
        code: the frozen checkout that runs are started from; None: the installed package.

    Raises:
        UserError: no sbatch here, or it refuses. What it took before stays, and is known to every later command.
    """
    size = largest()
    lanes = max(1, profile.at_once // size) if profile.at_once else 0
    before = sorted({number for _, number in _tasks(folder)}, key=int) if lanes else []
    numbers: list[str] = []
    left = list(jobs)
    while left:
        after = numbers[-lanes] if lanes and len(numbers) >= lanes else ":".join(before)
        part = left[:size]
        try:
            numbers.append(_submit(folder, part, profile, code, after))
        except UserError as error:
            if len(part) > 1 and TOO_MANY.search(error.found):
                size = len(part) // 2
                continue
            if not numbers:
                raise
            found = f"{len(jobs) - len(left)} of {len(jobs)} runs submitted, then: {error.found}"
            action = "they stay in the queue; submit again when some are done, it adds what is missing"
            raise UserError(error.field, found, error.expected, action) from error
        left = left[len(part) :]
    return numbers


def _submit(folder: SweepFolder, jobs: Sequence[Job], profile: Profile, code: Path | None, after: str) -> str:
    title = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', folder.name)}-{uuid.uuid4().hex[:8]}"
    submission = Submission(prepare(folder, jobs, profile, code), title, tuple(job.name for job in jobs))
    submission.write("")
    try:
        told = call(*command(folder, profile, submission.folder, title, len(jobs), after))
        seen = next((NUMBER.fullmatch(line.strip()) for line in reversed(told.splitlines()) if line.strip()), None)
        if seen is None:
            raise UserError("sbatch", repr(told[-200:]), "the number of a job", "look with squeue")
    except UserError as error:
        _tasks(folder)  # it may have been taken all the same; what cannot be asked now, a later command asks
        taken = next((each for each in submissions(folder) if each.title == title and each.number), None)
        if taken is None:
            if not UNSURE.search(f"{error.found} {error.expected}"):
                shutil.rmtree(submission.folder)
            raise
        return taken.number
    number, cluster = seen[1] or seen[3], seen[2] or seen[4] or ""
    submission.write(number, cluster)
    return number


def queue(folder: SweepFolder) -> dict[str, tuple[str, str]] | None:
    """What SLURM has of a sweep's runs: state and number by name. Empty where nothing went to SLURM.

    None: something did, and SLURM cannot be asked from this machine.

    Raises:
        UserError: SLURM does not answer, which says nothing of what it has.
    """
    if submissions(folder) and shutil.which("squeue") is None:
        return None
    return {name: (state, f"{number}_{task}") for (task, number), (name, state) in _tasks(folder).items()}


def cancel(folder: SweepFolder) -> int:
    """Cancel what is queued or runs; how many runs that were."""
    queued = queue(folder)
    if queued is None:
        require("scancel")
    numbers = {number.split("_")[0] for _, number in (queued or {}).values()}
    for cluster in {each.cluster for each in submissions(folder) if each.number in numbers}:
        here = {each.number for each in submissions(folder) if each.cluster == cluster} & numbers
        last_first = sorted(here, key=int, reverse=True)  # none starts because the one before it ended
        call("scancel", *_on(cluster), *last_first)
    return len(queued or {})


def _tasks(folder: SweepFolder) -> dict[tuple[str, str], tuple[str, str]]:
    """Name and state of what SLURM has of a sweep, by task and number; numbers that nobody saw are written down."""
    arrays = submissions(folder)
    found = {}
    for cluster in dict.fromkeys(each.cluster for each in arrays):
        by_number = {each.number: each for each in arrays if each.cluster == cluster and each.number}
        by_title = {each.title: each for each in arrays if each.cluster == cluster and not each.number}
        for line in _listed(cluster):
            words = line.split(maxsplit=3)
            if len(words) != 4 or not words[1].isdecimal():
                continue
            number, task, state, title = words
            if number not in by_number and (unseen := by_title.get(title.strip())):
                unseen.write(number, cluster)
                by_number[number] = unseen
            array = by_number.get(number)
            if array and int(task) < len(array.jobs) and state not in ENDED:
                found[task, number] = (array.jobs[int(task)], state)
    return found


def _listed(cluster: str) -> list[str]:
    """Lines of squeue's.

    Raises:
        UserError: it prints something, and no job: that tells nothing of what SLURM has.
    """
    lines = [line for line in call("squeue", *_on(cluster), *LISTED).splitlines() if line.strip()]
    others = [line for line in lines if not re.match(r"CLUSTER:|\d+(\+\d+)? ", line)]
    if others and len(others) == len(lines):
        raise UserError(
            "squeue", repr(others[0][:200]), "a job a line", "see what `squeue` on PATH is; try again later"
        )
    return lines


def _on(cluster: str) -> list[str]:
    return [f"--clusters={cluster}"] if cluster else []
