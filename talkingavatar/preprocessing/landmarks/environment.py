"""A Python environment of its own for a package whose pins fight with ours, made on first use in the cache folder.

MediaPipe 0.10.21 wants protobuf 4 and numpy 1, W&B wants protobuf 5 or newer: they cannot share one environment.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from talkingavatar.errors import UserError
from talkingavatar.paths import cache_root
from talkingavatar.runtime.making import making

# Installed without dependencies: MediaPipe names jax and others that its trackers never import (600 MB), and a windowed
# OpenCV that needs system libraries. The pins that matter are exact.
MEDIAPIPE = (
    "mediapipe==0.10.21", "numpy==1.26.4", "protobuf>=4.25.3,<5", "opencv-python-headless==4.11.0.86", "absl-py",
    "attrs", "flatbuffers", "matplotlib>=3.8,<3.12", "contourpy", "cycler", "fonttools", "kiwisolver", "packaging",
    "pillow", "pyparsing", "python-dateutil", "six",
)  # fmt: skip


def python_with(
    name: str,
    requirements: Sequence[str],
    check: str,
    action: str,
    announce: Callable[[str], None] = lambda message: None,
) -> Path:
    """The interpreter of an environment that holds `requirements`, made if there is none yet.

    Args:
        name: of the environment, part of its folder's name.
        requirements: for pip, complete (nothing else is installed).
        check: a statement that must run in it before it is taken for whole.
        action: what a user may do where it cannot be made.
        announce: called with one line before the work, which takes about a minute.

    Raises:
        UserError: pip could not install it (no network, no wheel for this Python), or `check` failed.
    """
    digest = hashlib.sha256("\n".join([*requirements, sys.version]).encode()).hexdigest()[:8]
    folder = cache_root() / "environments" / f"{name}-{digest}"
    if not _interpreter(folder).is_file():
        announce(f"installing {requirements[0]} into an environment of its own, once: {folder}")
        with making(folder.parent) as scratch:
            made = scratch / "environment"
            _make(made, requirements, check, name, action)
            try:
                made.rename(folder)
            except OSError:  # another process was first
                if not _interpreter(folder).is_file():
                    raise
    return _interpreter(folder)


def _make(folder: Path, requirements: Sequence[str], check: str, name: str, action: str) -> None:
    python = str(_interpreter(folder))
    pip = ["-m", "pip", "install", "--no-deps", "--quiet", "--disable-pip-version-check", *requirements]
    for command in ([sys.executable, "-m", "venv", str(folder)], [python, *pip], [python, "-c", check]):
        # A foreign PYTHONPATH would let packages of the running environment shadow the pinned ones.
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            errors = [line for line in said if line.startswith("ERROR")] or said or ["no message"]
            raise UserError(
                name,
                f"`{' '.join(command[1:5])} ...` failed in a fresh environment: {errors[-1]}",
                f"pip to install {requirements[0]} for Python {sys.version_info.major}.{sys.version_info.minor}",
                action,
            )


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
