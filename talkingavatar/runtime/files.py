"""Files that are whole or not there."""

import hashlib
from pathlib import Path


def write_atomically(file: Path, content: str) -> None:
    """Either the old content or the new, whatever is killed when."""
    temporary = file.with_name(file.name + ".tmp")
    temporary.write_text(content)
    temporary.replace(file)


def sha256(file: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
