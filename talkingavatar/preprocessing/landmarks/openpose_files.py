"""OpenPose's JSON: every person of every frame, whatever names, numbers and models the files were written with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.data.stated import Stated, read_json
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import NECK, SHOULDERS
from talkingavatar.preprocessing.numbering import natural, numbers_in

RUN = "run OpenPose on this video file: openpose.bin --video <video> --face --hand --write_json <folder>"
COUNTS = {"pose": (25, 18, 135), "hand_left": (21,), "hand_right": (21,), "face": (70, 68)}
# COCO's 18 points in the order of BODY_25, which has the mid-hip at 8 and feet at its end.
COCO18 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
MID_HIP, HIPS = 8, (9, 12)
# BODY_135: body and feet (0-24, COCO's order: nose, eyes, ears, shoulders, ...), hands, face with pupils at its end.
BODY_135 = {
    0: 0, 1: 16, 2: 15, 3: 18, 4: 17, 5: 5, 6: 2, 7: 6, 8: 3, 9: 7, 10: 4, 11: 12, 12: 9, 13: 13, 14: 10, 15: 14,
    16: 11, 19: 19, 20: 20, 21: 21, 22: 22, 23: 23, 24: 24,
}  # fmt: skip
LEFT_135, RIGHT_135, FACE_135 = slice(25, 45), slice(45, 65), slice(65, 135)
WRISTS_135 = (9, 10)

Person = dict[str, Float[ndarray, "K 3"]]  # pose (25), hand_left (21), hand_right (21), face (70); 0 where unseen


@dataclass(frozen=True)
class PoseFrames:
    """All files, in their order.

    Args:
        numbers: that their names carry; None where they have none.
        names: of the files.
        people: of each.
        models: that the bodies were found with.
    """

    numbers: list[int] | None
    names: list[str]
    people: list[list[Person]]
    models: list[str]


def read_poses(path: Path) -> PoseFrames:
    """A folder of `*.json`, one a frame, or one file with all frames (a list, or by name).

    Raises:
        UserError: there are none, or one is damaged or holds something else.
    """
    contents = _contents(path)
    if not contents:
        raise UserError("landmarks", f"{path}: no JSON files", "OpenPose's, one per frame", RUN)
    models: set[str] = set()
    people = [[_person(person, models) for person in _people(stated)] for stated in contents.values()]
    names = list(contents)
    return PoseFrames(numbers_in(names), names, people, sorted(models))


def _contents(path: Path) -> dict[str, Stated]:
    """What each frame's file, or part of the one file, holds, by name in the order of numbers."""
    if path.is_dir():
        files = sorted((f for f in path.iterdir() if f.suffix.lower() == ".json" and f.name[0] != "."),
                       key=lambda f: natural(f.name))  # fmt: skip
        if len(files) != 1:
            return {file.stem: Stated(str(file), _read(file), "write it again") for file in files}
        path = files[0]
    whole = Stated(str(path), _read(path), "write it again")
    inner = whole.of("frames") if whole.has("frames") else whole
    if isinstance(inner.value, list):
        return {f"{i}": entry for i, entry in enumerate(inner.entries())}
    if whole.has("people") or not isinstance(inner.value, dict):
        return {path.stem: whole}
    return {name: inner.of(name) for name in sorted(inner.names(), key=natural)}


def _read(file: Path) -> Any:
    try:
        return read_json(file, "write it again", finite=False)
    except UserError as error:
        raise UserError("landmarks", f"{error.field}: {error.found}", "OpenPose's JSON", error.action) from error


def _people(frame: Stated) -> list[Stated]:
    """
    Raises:
        UserError: this is not what OpenPose writes of a frame.
    """
    if not isinstance(frame.value, dict) or not isinstance(frame.value.get("people"), list):
        raise UserError("landmarks", f"{frame.place}: no list of people", "OpenPose's JSON", RUN)
    return frame.of("people").entries()


def _person(stated: Stated, models: set[str]) -> Person:
    """Every part in its usual form; one that is absent was not looked for and is unseen."""
    parts = {name: _part(stated, name, counts) for name, counts in COUNTS.items()}
    count = len(parts["pose"])
    if parts["pose"].any():
        models.add({25: "BODY_25", 18: "COCO", 135: "BODY_135"}[count])
    if count == 18:
        parts["pose"] = _from_coco(parts["pose"])
    elif count == 135:
        parts = _from_135(parts["pose"])
    if len(parts["face"]) == 68:  # without pupils
        parts["face"] = np.concatenate([parts["face"], np.zeros((2, 3), np.float32)])
    return parts


def _part(stated: Stated, name: str, counts: Sequence[int]) -> Float[ndarray, "K 3"]:
    """Points that NaN or null stands for were not seen.

    Raises:
        UserError: other than three numbers a point, or another number of points.
    """
    if not isinstance(stated.value, Mapping):
        raise stated.wrong("a person's keypoints")
    key = next((key for key in (f"{name}_keypoints_2d", f"{name}_keypoints") if stated.value.get(key)), None)
    if key is None:
        return np.zeros((counts[0], 3), np.float32)
    points = stated.of(key).matrix(*((count, 3) for count in counts), gaps=True)
    return np.nan_to_num(points, nan=0.0).astype(np.float32)


def _from_coco(points: Float[ndarray, "18 3"]) -> Float[ndarray, "25 3"]:
    """BODY_25, with the mid-hip between the hips."""
    body = np.zeros((25, 3), np.float32)
    body[list(COCO18)] = points
    return _with_middle(body, MID_HIP, HIPS)


def _from_135(points: Float[ndarray, "135 3"]) -> Person:
    """One model's 135 points as those of body, hands (the wrist in front) and face."""
    body = np.zeros((25, 3), np.float32)
    body[list(BODY_135.values())] = points[list(BODY_135)]
    body = _with_middle(_with_middle(body, MID_HIP, HIPS), NECK, SHOULDERS)
    left, right = (np.concatenate([points[[wrist]], points[fingers]])
                   for wrist, fingers in zip(WRISTS_135, (LEFT_135, RIGHT_135), strict=True))  # fmt: skip
    return {"pose": body, "hand_left": left, "hand_right": right, "face": points[FACE_135]}


def _with_middle(body: Float[ndarray, "25 3"], point: int, sides: tuple[int, int]) -> Float[ndarray, "25 3"]:
    """A point that this model has not, between two that it saw."""
    both = body[list(sides)]
    if (both[:, 2] > 0).all():
        body[point] = [*both[:, :2].mean(axis=0), both[:, 2].min()]
    return body
