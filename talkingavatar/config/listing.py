"""Which presets there are, without composing them."""

from functools import cache
from pathlib import Path

from talkingavatar.paths import shipped


def config_dir() -> Path:
    """Of the presets."""
    return shipped("conf")


@cache
def group_options() -> dict[str, dict[str, str]]:
    """Every config group of a fit with the names it offers, and where in the group Hydra finds each.

    A preset in a folder of its family is named after both: `experiment/thgs/wo_leb.yaml` is thgs_wo_leb.
    """
    root = config_dir()
    groups = (folder for folder in sorted(root.iterdir()) if any(folder.glob("*.yaml")))
    return {folder.name: _options(folder) for folder in groups}


def family_of(experiment: str) -> str:
    """The family in whose folder a preset stands; one that stands alone, or that is not known, is its own."""
    return group_options()["experiment"].get(experiment, experiment).split("/")[0]


def _options(folder: Path) -> dict[str, str]:
    places = (file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))
    return dict(sorted((place.replace("/", "_"), place) for place in places))
