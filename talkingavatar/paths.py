"""Where runs, caches and weights live, and the files that come with the package."""

import os
from pathlib import Path


def user_path(text: str | Path) -> Path:
    """A path as a user gives it: `~` is their home folder, but may begin a name as well."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no user has that name
        return Path(text)


def user_paths(text: str) -> list[Path]:
    """Paths with commas between; a comma may be part of a name that is there."""
    parts, found = text.split(","), []
    while parts:
        whole = (count for count in range(len(parts), 1, -1) if user_path(",".join(parts[:count])).exists())
        count = next(whole, 1)
        found += [user_path(",".join(parts[:count]))] if any(parts[:count]) else []
        parts = parts[count:]
    return found


def cache_root() -> Path:
    """`$TALKINGAVATAR_CACHE`, else `talkingavatar` in the user's cache folder. Created by who writes to it."""
    if given := os.environ.get("TALKINGAVATAR_CACHE"):
        return user_path(given)
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
    return user_path(given) if given else None


def runs_root() -> Path:
    """`$TALKINGAVATAR_RUNS`, else `./runs`."""
    return user_path(os.environ.get("TALKINGAVATAR_RUNS") or "runs")


def weights_root() -> Path | None:
    """`$TALKINGAVATAR_WEIGHTS`: a folder of licensed or downloaded weight files, or None."""
    given = os.environ.get("TALKINGAVATAR_WEIGHTS")
    return user_path(given) if given else None
