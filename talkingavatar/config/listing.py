"""Which presets there are, without composing them."""

from pathlib import Path


def config_dir() -> Path:
    """`conf/` inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def group_options() -> dict[str, list[str]]:
    """Every config group of a fit with the names it offers."""
    root = config_dir()
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(root.iterdir())
        if any(folder.glob("*.yaml"))
    }
