"""The frames that VHAP's `transforms*.json` name: whichever fields they have, on whatever machine they were written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from talkingavatar.data.importers.cameras import pinhole, rigid
from talkingavatar.data.importers.clip import COMPLETE
from talkingavatar.data.stated import Stated, read_json
from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import damage_told

PARTS = ("train", "val", "test")
AGAIN = "export it again"
# Some exports leave the picture's suffix off, or were stored anew in another form.
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".PNG", ".JPG", ".JPEG", ".TIF")
LENS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")  # distortion
LAST = 1_000_000_000  # number of a moment
LARGEST = 100_000  # pixels of a side
WHO = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Frame:
    """What is said of a moment by one camera.

    Args:
        place: of the entry, for errors.
        step: number of the moment.
        numbered: it is stated, not counted.
        part: train, val, test or all.
        mask, flame: None where nothing is named; perhaps absent.
        to_world: camera to world.
        K: in pixels of the picture as it is stored.
    """

    place: str
    step: int
    numbered: bool
    part: str
    picture: Path
    mask: Path | None
    flame: Path | None
    to_world: Float[ndarray, "4 4"]
    K: Float[ndarray, "3 3"]
    fps: float | None


@dataclass(frozen=True)
class Entry:
    """A frame by what tells it from others; `row` is all that is said of it."""

    camera: str
    step: int
    numbered: bool
    part: str
    row: Stated


class Export:
    """All frames of a folder, by camera.

    Raises:
        UserError: no transforms, or no number of a frame is one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.foreign: set[str] = set()  # folders that paths begin with and that are not here
        self.counted: dict[str, int] = {}  # frames without a number, by camera
        self.distorted: set[str] = set()  # numbers of a lens that are stated, and not undone
        files = {part: root / f"transforms_{part}.json" for part in PARTS}
        found = {part: file for part, file in files.items() if file.is_file()} or {"all": root / "transforms.json"}
        entries = [entry for part, file in found.items() for entry in self._of_file(part, file)]
        if not entries:
            raise UserError(str(next(iter(found.values()))), "no frames", "frames", AGAIN)
        if len({entry.numbered for entry in entries}) > 1:
            lacking = next(entry.row.place for entry in entries if not entry.numbered)
            raise UserError(lacking, "no timestep_index, which others have", "one in all frames", AGAIN)
        unique: dict[tuple[str, int], Entry] = {}
        for entry in entries:
            unique.setdefault((entry.camera, entry.step), entry)
        self.entries = list(unique.values())

    def frames(self, camera: str) -> list[Frame]:
        """Those of a camera in the order of time, with all fields.

        Raises:
            UserError: a field is absent or malformed.
        """
        chosen = [entry for entry in self.entries if entry.camera == camera]
        return [self._frame(entry) for entry in sorted(chosen, key=lambda entry: entry.step)]

    def _of_file(self, part: str, file: Path) -> list[Entry]:
        if not file.is_file():
            expected = "transforms.json, or transforms_train.json and its fellows"
            raise UserError("path", f"{self.root} without them", expected, "give the exported folder")
        whole = Stated(str(file), read_json(file, AGAIN), AGAIN)
        rows = whole.of("frames").entries()
        shared = {key: value for key, value in whole.value.items() if not isinstance(value, list)}
        entries = []
        for row in rows:
            row.names()
            said = Stated(row.place, shared | row.value, row.action)
            self.distorted |= {key for key in LENS if said.has(key) and said.of(key).number()}
            camera = _camera(said)
            entries.append(Entry(camera, *self._step(said, camera), part, said))
        return entries

    def _frame(self, entry: Entry) -> Frame:
        row = entry.row
        picture = self._path(row.of("file_path"), PICTURES)
        if not is_file(picture):
            raise UserError(f"{row.place}:file_path", f"{picture}: no such file", "a picture", COMPLETE)
        to_world = rigid(row.of("transform_matrix"))
        mask = self._path(row.of("fg_mask_path"), PICTURES) if row.has("fg_mask_path") else None
        flame = self._path(row.of("flame_param_path"), (".npz",)) if row.has("flame_param_path") else None
        fps = row.of("fps").number(1, 1000) if row.has("fps") else None
        K = _intrinsics(row, picture)
        return Frame(row.place, entry.step, entry.numbered, entry.part, picture, mask, flame, to_world, K, fps)

    def _step(self, row: Stated, camera: str) -> tuple[int, bool]:
        """The moment's number; where none is stated, the frames of a camera are counted as they are listed."""
        for key in ("timestep_index", "timestep_index_original"):
            if row.has(key):
                return _whole(row.of(key)), True
        if row.has("timestep_id") and (digits := WHO.findall(str(row.of("timestep_id").value))):
            return int(digits[-1]), True
        self.counted[camera] = self.counted.get(camera, -1) + 1
        return self.counted[camera], False

    def _path(self, stated: Stated, suffixes: Sequence[str]) -> Path:
        """A path as written on any system; one of another machine is looked for in the export by its last parts."""
        parts = PurePosixPath(stated.text().replace("\\", "/")).parts
        for skipped in range(len(parts)):
            file = find_file(self.root / Path(*parts[skipped:]), suffixes)
            if is_file(file):
                if skipped:
                    self.foreign.add(str(PurePosixPath(*parts[:skipped])))
                return file
        return self.root / Path(*parts)


def find_file(file: Path, suffixes: Sequence[str]) -> Path:
    """The file itself where it is there, else the one that another suffix, or one more, leads to."""
    if is_file(file):
        return file
    others = [file.with_name(stem + suffix) for stem in (file.name, file.stem) for suffix in suffixes if stem]
    return next((other for other in others if is_file(other)), file)


def is_file(file: Path) -> bool:
    """Whether there is one, whatever its name."""
    try:
        return file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _whole(stated: Stated) -> int:
    """A moment's number; "00012" is one."""
    text = stated.value
    if isinstance(text, str) and text.isdecimal() and len(text) < len(str(LAST)):
        return int(text)
    return stated.whole(0, LAST)


def _camera(row: Stated) -> str:
    key = next((key for key in ("camera_index", "camera_id") if row.has(key)), None)
    if key is None:
        return "0"
    stated = row.of(key)
    return stated.text() if isinstance(stated.value, str) else str(stated.whole(0, LAST))


def _intrinsics(row: Stated, picture: Path) -> Float[ndarray, "3 3"]:
    """In pixels of the picture as it is stored, which may be smaller than what w and h say."""
    with damage_told(picture, "a picture", COMPLETE), Image.open(picture) as image:
        stored = image.size
    width, height = (
        row.of(key).number(1, LARGEST) if row.has(key) else float(side) for key, side in zip("wh", stored, strict=True)
    )
    if row.has("fl_x"):
        fx = row.of("fl_x").number(1e-3, 1e7)
    elif row.has("camera_angle_x"):
        fx = width / 2 / np.tan(row.of("camera_angle_x").number(1e-3, 3.1) / 2)
    else:
        raise UserError(row.place, "no fl_x", "fl_x or camera_angle_x", AGAIN)
    fy = row.of("fl_y").number(1e-3, 1e7) if row.has("fl_y") else fx
    cx, cy = (row.of(key).number(-LARGEST, LARGEST) if row.has(key) else side / 2
              for key, side in (("cx", width), ("cy", height)))  # fmt: skip
    return np.diag([stored[0] / width, stored[1] / height, 1.0]) @ pinhole(fx, fy, cx, cy)
