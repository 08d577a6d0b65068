"""OpenPose's JSON files (`--write_json`): BODY_25, hands and face of every person, one file per frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import BODY, CONTOUR, COUNT, INNER_FACE, LEFT_HAND, RIGHT_HAND, Keypoints
from talkingavatar.preprocessing.landmarks.source import Pictures, ProgressFunction, Seen

PUPILS = (69, 68)  # the person's left and right pupil among the 70 face points
BESIDE = 0.35  # another person counts from this share of the largest one's extent
PARTS = {
    "pose_keypoints_2d": 25,
    "hand_left_keypoints_2d": 21,
    "hand_right_keypoints_2d": 21,
    "face_keypoints_2d": 70,
}


class OpenPose:
    """Reads a folder of `*_keypoints.json`, in the order of their names; coordinates in pixels of the video.

    Args:
        folder: one file per frame of the clip.
        origin: of the clip's crop in that video, pixels.
    """

    name, version = "openpose", 1

    def __init__(self, folder: Path, origin: tuple[float, float] = (0.0, 0.0)) -> None:
        self.folder, self.origin = folder, origin

    def detect(self, clip: Pictures, folder: Path, progress: ProgressFunction) -> Seen:
        """See `LandmarkSource.detect`. The person of the largest extent is taken; `faces` counts all that matter."""
        files = sorted(self.folder.glob("*.json"))
        if len(files) != clip.frames:
            raise UserError(
                "landmarks", f"{self.folder}: {len(files)} JSON files", f"{clip.frames}, one per frame",
                "run OpenPose on the same video, at its own frame rate and without a cut (start, end)",
            )  # fmt: skip
        points = np.full((clip.frames, COUNT, 3), np.nan, np.float32)
        iris, faces = np.full((clip.frames, 2, 3), np.nan, np.float32), np.zeros(clip.frames, int)
        points[..., 2] = iris[..., 2] = 0.0
        advance = progress("reading OpenPose's files", clip.frames)
        for index, file in enumerate(files):
            people = _people(file)
            extents = [_extent(person) for person in people]
            faces[index] = sum(extent >= BESIDE * max(extents) > 0 for extent in extents)
            if faces[index]:
                points[index], iris[index] = _arranged(people[int(np.argmax(extents))], self.origin)
            advance()
        mesh = np.full((clip.frames, 478, 3), np.nan, np.float32)
        mesh[..., 2] = 0.0
        return Seen(Keypoints(points, iris, mesh, faces))


def _people(file: Path) -> list[dict[str, Float[ndarray, "K 3"]]]:
    """Every person's parts; a part that is absent was not looked for and is unseen."""
    try:
        content = json.loads(file.read_text())
        return [_person(person) for person in content["people"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            "landmarks", f"{file}: {type(error).__name__} ({error})", "OpenPose's JSON with BODY_25", "write it again"
        ) from error


def _person(written: dict[str, Any]) -> dict[str, Float[ndarray, "K 3"]]:
    parts = {}
    for name, count in PARTS.items():
        numbers = np.array(written.get(name) or np.zeros(3 * count), np.float32).reshape(-1, 3)
        if len(numbers) != count:
            raise ValueError(f"{name} of {len(numbers)} points, not {count}")
        parts[name] = numbers
    return parts


def _extent(person: dict[str, Float[ndarray, "K 3"]]) -> float:
    """Diagonal of the box round all that was seen, pixels."""
    seen = np.concatenate(list(person.values()))
    seen = seen[seen[:, 2] > 0, :2]
    return float(np.linalg.norm(seen.max(axis=0) - seen.min(axis=0))) if len(seen) else 0.0


def _arranged(
    person: dict[str, Float[ndarray, "K 3"]], origin: tuple[float, float]
) -> tuple[Float[ndarray, "135 3"], Float[ndarray, "2 3"]]:
    """In the 135-point layout, and the pupils; unseen points become gaps."""
    points, face = np.zeros((COUNT, 3), np.float32), person["face_keypoints_2d"].copy()
    points[BODY] = person["pose_keypoints_2d"]
    points[LEFT_HAND], points[RIGHT_HAND] = person["hand_left_keypoints_2d"], person["hand_right_keypoints_2d"]
    points[CONTOUR], points[INNER_FACE] = face[:17], face[17:68]
    iris = face[list(PUPILS)]
    for part in (points, iris):
        part[:, :2] -= origin
        part[part[:, 2] <= 0] = (np.nan, np.nan, 0.0)
        part[:, 2] = part[:, 2].clip(0, 1)
    return points, iris
