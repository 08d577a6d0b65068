"""Which rows of a table of faces show the one who is filmed: a tracker that lost a face for a while numbers it anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

NEAR = 1.0  # of a face's extent: how far from where it was lost it may be found again
ALIKE = 1.6  # and by what factor larger or smaller


@dataclass(frozen=True)
class Track:
    """What was seen under one number: rows in the order of time, and of each the face's middle and extent, pixels."""

    number: float
    rows: Int[ndarray, " N"]
    frames: Int[ndarray, " N"]
    middles: Float[ndarray, "N 2"]
    extents: Float[ndarray, " N"]

    def goes_on_as(self, other: Track) -> bool:
        """Whether the other begins after this one ended, about where and as large as it was."""
        if self.frames[-1] >= other.frames[0]:
            return False
        larger = max(self.extents[-1], other.extents[0])
        away = np.linalg.norm(self.middles[-1] - other.middles[0])
        return bool(away < NEAR * larger and larger < ALIKE * min(self.extents[-1], other.extents[0]))


def followed(
    numbers: Float[ndarray, " R"],
    frames: Int[ndarray, " R"],
    tracked: Bool[ndarray, " R"],
    points: Float[ndarray, "R 68 2"],
) -> tuple[Bool[ndarray, " R"], str]:
    """Rows of the face that is seen longest and largest; which one, in words.

    Args:
        numbers: of the faces, as a tracker gave them; NaN counts as one.
        tracked: rows that show a face at all.
    """
    tracks = _tracks(np.nan_to_num(numbers, nan=-1.0), frames, tracked, points)
    people: list[list[Track]] = []
    for track in tracks:
        before = [person for person in people if person[-1].goes_on_as(track)]
        if before:
            max(before, key=lambda person: person[-1].frames[-1]).append(track)
        else:
            people.append([track])
    if len(tracks) < 2:
        return np.ones(len(numbers), bool), "the only one"
    most = max(people, key=lambda person: sum(float(track.extents.sum()) for track in person))
    chosen = np.zeros(len(numbers), bool)
    for track in most:
        chosen[track.rows] = True
    names = ", ".join(f"{track.number:g}" for track in most)
    return chosen, f"face_id {names} of {len(tracks)}, seen in {int(chosen.sum())} rows"


def _tracks(
    numbers: Float[ndarray, " R"],
    frames: Int[ndarray, " R"],
    tracked: Bool[ndarray, " R"],
    points: Float[ndarray, "R 68 2"],
) -> list[Track]:
    """By the frame in which each begins."""
    found = []
    for number in np.unique(numbers[tracked]):
        rows = np.flatnonzero(tracked & (numbers == number))
        rows = rows[np.argsort(frames[rows], kind="stable")]
        extents = np.ptp(points[rows], axis=1).max(axis=1)
        found.append(Track(float(number), rows, frames[rows], points[rows].mean(axis=1), extents))
    return sorted(found, key=lambda track: int(track.frames[0]))
