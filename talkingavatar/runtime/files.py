"""Files that are whole or not there."""

from pathlib import Path


def write_atomically(file: Path, content: str) -> None:
    """Either the old content or the new, whatever is killed when."""
    temporary = file.with_name(file.name + ".tmp")
    temporary.write_text(content)
    temporary.replace(file)
