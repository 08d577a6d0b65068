"""The real clips, which lie beside the checkout on some machines only."""

from pathlib import Path

import pytest

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"


def real_clip(name: str) -> Path:
    """A real clip by its path in the media folder; the test is skipped where there is none."""
    file = MEDIA / name
    if not file.is_file():
        pytest.skip(f"{name}: the real clips are not on this machine")
    return file
