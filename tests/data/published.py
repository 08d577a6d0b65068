"""What the tests of importers write in published layouts, and read back."""

import numpy as np
from PIL import Image

from talkingavatar.data.capture import Capture
from talkingavatar.data.importers import FORMATS, Options, write_clip

RED, SIZE = (200, 30, 10), 16


def picture(file, colour=RED, size=(SIZE, SIZE), mode="RGB"):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file)


def half_mask(file, low=0, high=255, size=(SIZE, SIZE)):
    """The left half is the subject; `low` is what a JPEG leaves of black."""
    file.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((size[1], size[0]), low, np.uint8)
    values[:, : size[0] // 2] = high
    Image.fromarray(values).convert("RGB").save(file)


def imported(form, tmp_path, **options) -> Capture:
    clip = FORMATS[form](Options(**options))
    ticks = []
    write_clip(clip, tmp_path / "capture", options.get("width"), lambda title, total: lambda: ticks.append(title))
    assert len(ticks) == clip.frames * len(clip.views)
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []
    return Capture(tmp_path / "capture")
