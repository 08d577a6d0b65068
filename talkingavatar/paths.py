"""Where runs, caches and weights live, and the files that come with the package."""

import os
from pathlib import Path


def cache_root() -> Path:
    """`$TALKINGAVATAR_CACHE`, else `talkingavatar` in the user's cache folder. Created by who writes to it."""
    if given := os.environ.get("TALKINGAVATAR_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "talkingavatar"


def shipped(name: str) -> Path:
    """`conf`, `sweeps`, `slurm` or `experiments`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def own_conf() -> Path | None:
    """`$TALKINGAVATAR_CONF`: a folder of the user's own presets, laid out as `conf`, or None."""
    given = os.environ.get("TALKINGAVATAR_CONF")
    return Path(given).expanduser() if given else None


def runs_root() -> Path:
    """`$TALKINGAVATAR_RUNS`, else `./runs`."""
    return Path(os.environ.get("TALKINGAVATAR_RUNS", "runs")).expanduser()


def weights_root() -> Path | None:
    """`$TALKINGAVATAR_WEIGHTS`: a folder of licensed or downloaded weight files, or None."""
    given = os.environ.get("TALKINGAVATAR_WEIGHTS")
    return Path(given).expanduser() if given else None
