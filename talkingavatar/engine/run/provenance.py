"""What a run was made with: command, commit, packages, device, body."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch


def provenance() -> dict[str, Any]:
    """Facts that a result cannot be repeated without."""
    return {
        "command": shlex.join([sys.executable, *sys.orig_argv[1:]]),
        "cwd": str(Path.cwd()),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "device": device_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def dirty_patch() -> str:
    """The uncommitted change of the checkout the package lies in, empty outside one."""
    return _git("diff", "HEAD") or ""


def packages() -> str:
    """Installed packages, one `name==version` a line."""
    return "\n".join(sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower))


def device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu ({platform.processor() or platform.machine()})"


def _git(*arguments: str) -> str | None:
    """Output of git in the package's checkout; None outside one or without git."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
