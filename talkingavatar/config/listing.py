"""Which presets there are, without composing them."""

from pathlib import Path

from talkingavatar.paths import shipped


def config_dir() -> Path:
    """Of the presets."""
    return shipped("conf")


def group_options() -> dict[str, list[str]]:
    """Every config group of a fit with the names it offers."""
    root = config_dir()
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(root.iterdir())
        if any(folder.glob("*.yaml"))
    }
