"""Which presets there are, without composing them."""

from functools import cache
from pathlib import Path

from talkingavatar.errors import UserError
from talkingavatar.paths import own_conf, shipped


def config_dir() -> Path:
    """Of the presets that come with the package."""
    return shipped("conf")


def config_dirs() -> list[Path]:
    """The package's presets, then the user's own.

    Raises:
        UserError: `$TALKINGAVATAR_CONF` names no folder.
    """
    own = own_conf()
    if own is None:
        return [config_dir()]
    if not own.is_dir():
        raise UserError("$TALKINGAVATAR_CONF", f"{own}: no such folder", "a folder like conf/", "make it, or unset it")
    return [config_dir(), own.absolute()]


def group_options() -> dict[str, dict[str, str]]:
    """Every config group of a fit with the names it offers, and where in the group Hydra finds each.

    A preset in a folder of its family is named after both: `experiment/thgs/wo_leb.yaml` is thgs_wo_leb.

    Raises:
        UserError: a preset of the user's has the name of another, or there is no such folder.
    """
    return _options(tuple(config_dirs()))


def family_of(experiment: str, known: dict[str, str] | None = None) -> str:
    """The family in whose folder a preset stands; one that stands alone, or that is not known, is its own.

    Args:
        known: experiments and their places, where the caller has them (`group_options`).
    """
    known = group_options()["experiment"] if known is None else known
    return known.get(experiment, experiment).split("/")[0]


@cache
def _options(roots: tuple[Path, ...]) -> dict[str, dict[str, str]]:
    folders = [folder for root in roots for folder in root.iterdir() if folder.name not in ("evaluate", "text")]
    groups = sorted({folder.name for folder in folders if any(folder.glob("*.yaml"))})
    return {group: dict(sorted(_of_group([root / group for root in roots]).items())) for group in groups}


def _of_group(folders: list[Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in folders:
        for file in folder.rglob("*.yaml"):
            place = file.relative_to(folder).with_suffix("").as_posix()
            name = place.replace("/", "_")
            if name in found:
                taken = f"{name}, which is the name of another preset"
                raise UserError(str(file), taken, f"another name in {folder.name}", "rename the file")
            found[name] = place
    return found
