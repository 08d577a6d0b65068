"""Runs of a sweep on SLURM: tasks of job arrays (see `arrays`) through the template `slurm/array.sh`.

The template is a shell script that a person can read and submit by hand, and SLURM itself keeps the queue: a library
between (submitit) would pickle what is plain text here, and wait for results in the calling process.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.config.names import suggestion
from talkingavatar.config.quoting import literal, split, unquoted
from talkingavatar.config.ranges import check_ranges, or_nothing, within
from talkingavatar.config.yaml_file import read_yaml
from talkingavatar.errors import UserError
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.local import python_path
from talkingavatar.paths import shipped, user_path

TIMEOUT = 60  # seconds for a call of SLURM's; a controller that is down makes clients wait for minutes
ANYWHERE = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_DEBUG")  # tell nothing of a job
TIME = re.compile(r"(\d+-)?\d+(:\d+){1,2}|\d+-\d+")


@dataclass
class Profile:
    """A cluster, as `slurm/profiles/<name>.yaml` describes it. Empty texts and zeros leave it to the cluster."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time: str = "24:00:00"  # hours:minutes:seconds of one start; a longer fit saves, is requeued and goes on
    nodes: int = within(1, 1, 100_000)  # of one run; several, or more tasks, share a driver's steps (`trainer=ddp`)
    tasks: int = within(1, 1, 1024)  # of one run on each node
    gpus: int = within(0, 0, 1024)  # of one run on each node
    cpus: int = within(4, 0, 4096)  # of each task
    memory: str = or_nothing("16G")  # of one run on each node; empty: as much as the cluster gives
    warn_seconds: int = within(120, 0, 65535)  # before the time limit, when the fit is told to save
    at_once: int = within(0, 0, 10**6)  # runs at a time
    offline: bool = True  # W&B writes to the run directory; `sweep sync` sends it later
    python: str = ""  # the interpreter on the nodes; empty: the one that submits
    container: list[str] = field(default_factory=list)  # words before the interpreter: apptainer exec --nv image.sif
    setup: list[str] = field(default_factory=list)  # shell lines before a run: module load, source venv/bin/activate
    scratch: str = ""  # folder on the node's own disk: captures given by a relative path are copied there once a node
    options: list[str] = field(default_factory=list)  # more options of sbatch, as they are


def read_profile(name: str, changes: Sequence[str] = ()) -> Profile:
    """A profile by name or file.

    Args:
        changes: `key=value` over the file.

    Raises:
        UserError: no such profile, an unknown key or a value of another type.
    """
    folder = template_folder() / "profiles"
    file = user_path(name) if name.endswith(".yaml") else folder / f"{name}.yaml"
    if not file.is_file() or (file.parent != folder and not name.endswith(".yaml")):
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        raise UserError("profile", name, f"one of {', '.join(known)}, or a YAML file", suggestion(name, known))
    config = OmegaConf.structured(Profile)
    try:
        config = OmegaConf.merge(config, read_yaml(file, "the profile of a cluster"))
        for change in changes:
            key, _, value = change.partition("=")
            if key not in Profile.__dataclass_fields__:
                keys = list(Profile.__dataclass_fields__)
                raise UserError(f"profile.{key}", "an unknown key", f"one of {', '.join(keys)}", suggestion(key, keys))
            listed = isinstance(getattr(Profile(), key), list)
            if listed and not (value.startswith("[") and value.endswith("]")):
                raise UserError(f"profile.{key}", repr(value), "a list, [one, another]", "correct it")
            words = [literal(unquoted(word)) for word in split(value[1:-1]) if word]
            OmegaConf.update(config, key, words if listed else literal(value), merge=False)
        profile = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or ""
        keys = list(Profile.__dataclass_fields__)
        if key and key not in keys:
            expected = f"one of {', '.join(keys)}"
            raise UserError(f"{file}: {key}", "an unknown key", expected, suggestion(key, keys)) from error
        raise UserError(f"{file}: {key}", str(error).splitlines()[0], "the keys of a profile", "correct it") from error
    assert isinstance(profile, Profile)
    check_ranges(profile, "profile.")
    if not TIME.fullmatch(profile.time):
        raise UserError(f"{file}: time", repr(profile.time), "'hours:minutes:seconds'", "write it in quotes")
    return profile


def template_folder() -> Path:
    """Of the job template and the profiles."""
    return shipped("slurm")


def options(profile: Profile, name: str, count: int) -> list[str]:
    """sbatch's options for an array of so many runs."""
    given = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "time": profile.time,
        "gres": f"gpu:{profile.gpus}" if profile.gpus else "",
        "nodes": str(profile.nodes),
        "ntasks-per-node": str(profile.tasks),
        "cpus-per-task": str(profile.cpus or ""),
        "mem": profile.memory,
        "signal": f"USR1@{profile.warn_seconds}",
    }
    throttle = f"%{profile.at_once}" if profile.at_once else ""
    return [
        f"--job-name={name}",
        f"--array=0-{count - 1}{throttle}",
        *(f"--{key}={value}" for key, value in given.items() if value),
        *profile.options,
    ]


def require(program: str) -> None:
    """
    Raises:
        UserError: a program of SLURM's is not on PATH.
    """
    if shutil.which(program) is None:
        raise UserError(
            "launcher", f"slurm, but no {program} on PATH", "a machine that submits to SLURM",
            "run it on the login node, or give launcher=local",
        )  # fmt: skip


def call(*words: str, seconds: float = TIMEOUT) -> str:
    """Output of a program of SLURM's.

    Raises:
        UserError: it fails, with the cluster's own words, or does not answer.
    """
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=seconds, check=False, env=_outside()
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(words[0], f"no answer in {seconds:g} s", "SLURM's controller", "try again later") from error
    except OSError as error:
        raise UserError(
            words[0], error.strerror or str(error), "a program of SLURM's", "look for it on PATH"
        ) from error
    lines = [line.strip().removeprefix(f"{words[0]}: error: ") for line in done.stderr.splitlines() if line.strip()]
    if done.returncode or (words[0] == "squeue" and any("error: " in line for line in lines)):
        reason = "; ".join(dict.fromkeys(lines[-4:])) or f"exit code {done.returncode}"
        raise UserError(words[0], reason, "a request that SLURM takes", "correct the profile, or try again later")
    return done.stdout


def _outside() -> dict[str, str]:
    """The environment without what a user's habits hide from squeue, and, inside of a job, without that job's own
    sizes, which a new one would be given besides those it asks for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    if "SLURM_JOB_ID" in kept:
        kept = {name: kept[name] for name in kept if not name.startswith("SLURM_") or name in ANYWHERE}
    return kept


def prepare(folder: SweepFolder, jobs: Sequence[Job], profile: Profile, code: Path | None) -> Path:
    """A new folder with all that the array reads."""
    root = folder.launch / "submissions"
    number = 1 + max((int(path.name) for path in root.iterdir() if path.name.isdecimal()), default=0)
    submission = root / str(number)
    submission.mkdir()
    lines = (f"{job.name}\t{shlex.join(folder.arguments(job))}\n" for job in jobs)
    (submission / "jobs.tsv").write_text("".join(lines))
    (submission / "environment.sh").write_text(environment(profile, code))
    shutil.copy(template_folder() / "array.sh", submission / "array.sh")
    return submission


def environment(profile: Profile, code: Path | None) -> str:
    """The shell lines that a task reads before its run."""
    kept = {name: os.environ[name] for name in sorted(os.environ) if name.startswith("TALKINGAVATAR_")}
    kept |= python_path(code)
    if profile.offline:
        kept["WANDB_MODE"] = "offline"
    python = profile.python or sys.executable
    lines = [
        *(f"export {name}={shlex.quote(value)}" for name, value in kept.items()),
        *profile.setup,
        f"fit=({shlex.join([*profile.container, python, '-m', 'talkingavatar.fit'])})",
    ]
    if profile.scratch:
        lines.append(f'scratch="{profile.scratch}"')
    return "\n".join(lines) + "\n"
