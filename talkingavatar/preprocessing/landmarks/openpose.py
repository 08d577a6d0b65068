"""OpenPose's results as a landmark source: the person who is followed, in pixels, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import BODY, CONTOUR, COUNT, INNER_FACE, LEFT_HAND, RIGHT_HAND, Keypoints
from talkingavatar.preprocessing.landmarks.openpose_files import RUN, Person, PoseFrames, read_poses
from talkingavatar.preprocessing.landmarks.source import Pictures, ProgressFunction, Seen
from talkingavatar.preprocessing.landmarks.unit import unit_of
from talkingavatar.preprocessing.numbering import Clock, Placed, Things, clocks_of

PUPILS = (69, 68)  # the person's left and right pupil among the 70 face points
BESIDE = 0.35  # another person counts from this share of the largest one's extent
JUMP = 2.0  # what a step as long as the person costs, of the largest one's extent
FACE_SEEN = 0.5  # what a face counts, of the largest one's extent


class OpenPose:
    """Reads a folder of `*.json` or one file with all frames; coordinates in pixels or shares of the video's picture.

    Args:
        path: a file per frame of the clip, or of its video, placed by the numbers in their names.
        origin: of the clip's crop in that video, pixels; None: it is not cropped.
        size: width and height of the video's pictures, by which the unit is told; None: pixels.
        clocks: by which files may be counted; None: by the clip's frames.
    """

    name, version = "openpose", 3

    def __init__(
        self,
        path: Path,
        origin: tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
        clocks: Sequence[Clock] | None = None,
    ) -> None:
        self.path, self.origin, self.size, self.clocks = path, origin, size, clocks

    def detect(self, clip: Pictures, folder: Path, progress: ProgressFunction) -> Seen:
        """See `LandmarkSource.detect`. The person who is large, shows a face and moves little from frame to frame is
        taken; `faces` counts all faces that matter.
        """
        poses = read_poses(self.path)
        placed = self._placed(poses, clip.frames)
        people = [[] if row < 0 else poses.people[row] for row in placed.rows]
        if not any(person["face"][:68, 2].any() for persons in people for person in persons):
            bodies = sum(bool(persons) for persons in people)
            raise UserError("landmarks", f"{self.path}: people in {bodies} files, face keypoints in none",
                            "face_keypoints_2d", RUN)  # fmt: skip
        scale, origin, unit = self._unit(people)
        chosen, several = _followed(people, clip.shots)
        points = np.full((clip.frames, COUNT, 3), np.nan, np.float32)
        iris, faces = np.full((clip.frames, 2, 3), np.nan, np.float32), np.zeros(clip.frames, int)
        points[..., 2] = iris[..., 2] = 0.0
        advance = progress("reading OpenPose's files", clip.frames)
        for index, (persons, pick) in enumerate(zip(people, chosen, strict=True)):
            faces[index] = _beside(persons)
            if pick >= 0:
                points[index], iris[index] = _arranged(persons[pick], scale, origin)
            advance()
        mesh = np.full((clip.frames, 478, 3), np.nan, np.float32)
        mesh[..., 2] = 0.0
        who = "large, with a face, moving least" if several else "the only one"
        believed = placed.believed | {
            "unit": unit,
            "models": poses.models,
            "person": who,
            "frames_with_several": several,
        }
        told = (f"{self.path}: several people in {several} frames; one of them is followed",) if several else ()
        return Seen(Keypoints(points, iris, mesh, faces), None, None, believed, (*placed.warnings, *told))

    def _placed(self, poses: PoseFrames, frames: int) -> Placed:
        clocks = self.clocks or clocks_of(range(frames), frames, 1.0, 1.0)
        things = Things("landmarks", f"{self.path}: {len(poses.names)} JSON files", "{}, one per frame", RUN)
        if poses.numbers is None:
            return things.in_order(len(poses.names), clocks)
        return things.place(poses.numbers, clocks)

    def _unit(self, people: list[list[Person]]) -> tuple[Float[ndarray, " 2"], Float[ndarray, " 2"], str]:
        """Pixels of the clip's source = scale * coordinate - origin; the unit, in words."""
        corner = np.array(self.origin or (0.0, 0.0))
        if self.size is None:
            return np.ones(2), corner, "pixels of the video"
        seen = np.concatenate([_seen(person) for persons in people for person in persons])
        bodies = any(person["pose"].any() for persons in people for person in persons)
        anywhere = self.origin is not None or not bodies
        unit = unit_of(seen, self.size, anywhere, str(self.path), f"{RUN} --keypoint_scale 0")
        return unit.scale, corner + unit.scale * unit.origin, unit.name


@dataclass(frozen=True)
class _Look:
    """People of one frame: how much each is worth as the one who is filmed, where and how large each is."""

    worth: Float[ndarray, " P"]
    centre: Float[ndarray, "P 2"]
    extent: Float[ndarray, " P"]


def _followed(people: list[list[Person]], shots: list[tuple[int, int]]) -> tuple[list[int], int]:
    """Who is taken in each frame, -1 for nobody; in how many frames there were several to choose from.

    The best path through each shot (Viterbi): worth is gained in every frame, jumps from one place to another cost.
    """
    looks = [_look(persons) for persons in people]
    chosen = [-1] * len(people)
    for start, stop in shots:
        frames = [t for t in range(start, stop) if len(looks[t].worth)]
        if not frames:
            continue
        gained, back = looks[frames[0]].worth, []
        for before, now in pairwise(frames):
            total = gained[:, None] - _cost(looks[before], looks[now])
            back.append(total.argmax(axis=0))
            gained = total.max(axis=0) + looks[now].worth
        pick = int(gained.argmax())
        for t, came in zip(reversed(frames), [*reversed(back), None], strict=True):
            chosen[t] = pick if looks[t].extent[pick] > 0 else -1
            pick = pick if came is None else int(came[pick])
    return chosen, sum(_beside(persons) > 1 for persons in people)


def _look(persons: list[Person]) -> _Look:
    boxes = [(seen.min(axis=0), seen.max(axis=0)) if len(seen := _seen(person)) else (np.zeros(2), np.zeros(2))
             for person in persons]  # fmt: skip
    low, high = np.array([box[0] for box in boxes]).reshape(-1, 2), np.array([box[1] for box in boxes]).reshape(-1, 2)
    extent = np.linalg.norm(high - low, axis=1)
    faces = np.array([(person["face"][:68, 2] > 0).mean() for person in persons])
    return _Look(extent / max(extent.max(initial=0), 1e-9) + FACE_SEEN * faces, (low + high) / 2, extent)


def _cost(before: _Look, now: _Look) -> Float[ndarray, "P Q"]:
    distance = np.linalg.norm(before.centre[:, None] - now.centre, axis=2)
    return JUMP * (distance / np.maximum(before.extent[:, None], 1e-9)).clip(0, 1)


def _beside(persons: list[Person]) -> int:
    """Faces that matter, by the extent of those they belong to."""
    extents = [_extent(person) for person in persons]
    return sum(extent >= BESIDE * max(extents) > 0 and bool((person["face"][:68, 2] > 0).any())
               for person, extent in zip(persons, extents, strict=True))  # fmt: skip


def _seen(person: Person) -> Float[ndarray, "N 2"]:
    points = np.concatenate(list(person.values()))
    return points[points[:, 2] > 0, :2]


def _extent(person: Person) -> float:
    """Diagonal of the box round all that was seen."""
    seen = _seen(person)
    return float(np.linalg.norm(seen.max(axis=0) - seen.min(axis=0))) if len(seen) else 0.0


def _arranged(
    person: Person, scale: Float[ndarray, " 2"], origin: Float[ndarray, " 2"]
) -> tuple[Float[ndarray, "135 3"], Float[ndarray, "2 3"]]:
    """In the 135-point layout, and the pupils; unseen points become gaps."""
    points, face = np.zeros((COUNT, 3), np.float32), person["face"].copy()
    points[BODY] = person["pose"]
    points[LEFT_HAND], points[RIGHT_HAND] = person["hand_left"], person["hand_right"]
    points[CONTOUR], points[INNER_FACE] = face[:17], face[17:68]
    iris = face[list(PUPILS)]
    for part in (points, iris):
        part[:, :2] = scale * part[:, :2] - origin
        part[part[:, 2] <= 0] = (np.nan, np.nan, 0.0)
        part[:, 2] = part[:, 2].clip(0, 1)
    return points, iris
