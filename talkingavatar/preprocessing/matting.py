"""The matte stage: mattes and frames on white, from the landmark source's masks or from mattes made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.clip import Clip, ProgressFunction, save_png
from talkingavatar.preprocessing.landmarks.source import Observed
from talkingavatar.preprocessing.matte import Footage, background, plates, refine
from talkingavatar.preprocessing.matte_sense import turned_right, whole_mattes
from talkingavatar.preprocessing.ready_mattes import Crop, ReadyMattes
from talkingavatar.preprocessing.stages import write_json
from talkingavatar.runtime.threads import in_order

MATTING_VERSION = 7
READY = "ready.json"  # in the stage's folder: how mattes made elsewhere were read
Matte = UInt8[ndarray, "H W"]


def make_mattes(clip: Clip, seen: Observed, ready: Path | None, folder: Path, progress: ProgressFunction) -> None:
    """Fill mattes/, frames/ and, where the camera stands still, background.png; what is there already is kept.

    Raises:
        UserError: `ready` mattes do not fit the clip, or there are none and the source gave no masks.
    """
    for kind in ("mattes", "frames"):
        (folder / kind).mkdir(exist_ok=True)
    coarse: Callable[[int], Matte]
    if ready is not None:
        _copy_ready(clip, seen, ready, folder)
        coarse = _reader(folder / "mattes")
    elif seen.masks is not None:
        coarse = seen.coarse(clip.width, clip.height)
    else:
        raise UserError("mattes", "nothing, and this landmark source gives no masks", "mattes", "give mattes=<folder>")
    footage = Footage(clip.frame, coarse, seen.keypoints, clip.shots, clip.width, clip.height)
    advance = progress("clean plate", 1)
    of_shots = plates(footage)
    advance()
    whole = background(of_shots)
    if whole is not None:
        save_png(whole.image, folder / "background.png")
    first = next((i for i in range(clip.frames) if not _file(folder / "frames", i).is_file()), clip.frames)
    advance = progress("mattes", clip.frames)
    for _ in range(first):
        advance()
    if ready is None:
        results = refine(footage, of_shots, first)
    else:
        results = _on_white(clip, coarse, None if whole is None else whole.image, first)

    def save(made: tuple[int, tuple[Matte, UInt8[ndarray, "H W 3"]]]) -> None:
        index, (matte, picture) = made
        save_png(matte, _file(folder / "mattes", index))
        save_png(picture, _file(folder / "frames", index))

    for _ in in_order(save, enumerate(results, first)):
        advance()


def composite(
    picture: UInt8[ndarray, "H W 3"], matte: UInt8[ndarray, "H W"], plate: UInt8[ndarray, "H W 3"] | None
) -> UInt8[ndarray, "H W 3"]:
    """The person on white.

    A picture is C = a F + (1 - a) B. Where the scene B is known, its share is taken off edges and hair; else F is
    taken to be C. F stays a colour, so that what is not the person is white.
    """
    share = matte[..., None].astype(np.float32) / 255
    behind = (picture if plate is None else plate).astype(np.float32)
    person = (picture - (1 - share) * behind).clip(0, 255 * share)
    return (person + 255 * (1 - share)).round().astype(np.uint8)


def on_white(folder: Path, index: int) -> UInt8[ndarray, "H W 3"]:
    """A frame as the stage left it: the person on white."""
    with Image.open(_file(folder / "frames", index)) as image:
        return np.array(image.convert("RGB"))


def _on_white(
    clip: Clip, matte: Callable[[int], Matte], plate: UInt8[ndarray, "H W 3"] | None, first: int
) -> Iterator[tuple[Matte, UInt8[ndarray, "H W 3"]]]:
    for index in range(first, clip.frames):
        yield matte(index), composite(clip.frame(index), matte(index), plate)


def _copy_ready(clip: Clip, seen: Observed, ready: Path, folder: Path) -> None:
    """The mattes, and how they were read in ready.json."""
    source_size = (round(clip.width / clip.to_capture[0]), round(clip.height / clip.to_capture[1]))
    box = clip.cutout.crop
    crop = None if box is None else Crop(clip.picture_size, box)
    given = ReadyMattes(ready, clip.frames, (clip.width, clip.height), source_size, clocks=clip.clocks, crop=crop)
    given, told = turned_right(given, seen.keypoints)
    for index, matte in enumerate(whole_mattes(given, seen.keypoints)):
        if not _file(folder / "mattes", index).is_file():
            save_png(matte, _file(folder / "mattes", index))
    warnings = [*given.placed.warnings, *([] if told is None else [told])]
    write_json(folder / READY, given.believed | {"warnings": warnings})


def _reader(folder: Path) -> Callable[[int], Matte]:
    def read(index: int) -> Matte:
        with Image.open(_file(folder, index)) as image:
            return np.array(image.convert("L"))

    return read


def _file(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.png"
