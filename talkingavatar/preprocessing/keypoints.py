"""2D keypoints of a clip in the 135-point layout that every landmark source is brought into."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

# Columns of `Keypoints.points`, SHOW's order: BODY_25, both hands, inner face (17-67 of the usual 68), contour (0-16).
BODY, LEFT_HAND, RIGHT_HAND = slice(0, 25), slice(25, 46), slice(46, 67)
INNER_FACE, CONTOUR = slice(67, 118), slice(118, 135)
NECK, SHOULDERS, HIPS = 1, (2, 5), (8, 9, 12)
INNER_LIPS = ((61, 67), (62, 66), (63, 65))  # of the 68: upper and lower, facing each other
TRUNK = (NECK, *SHOULDERS, *HIPS)
COUNT = 135


@dataclass(frozen=True)
class Keypoints:
    """What was seen in T frames: x, y in pixels of the capture's frames, confidence in [0, 1].

    A point that was not seen has NaN for x and y and confidence 0: a gap, not a zero.
    """

    points: Float[ndarray, "T 135 3"]
    iris: Float[ndarray, "T 2 3"]  # centres of the person's left and right iris
    mesh: Float[ndarray, "T 478 3"]  # MediaPipe's face mesh, where it is the source; gaps elsewhere
    faces: Int[ndarray, " T"]  # how many faces stood in the frame

    def __len__(self) -> int:
        return len(self.points)

    def frames(self, rows: list[int]) -> Keypoints:
        """Those of these frames alone."""
        return Keypoints(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def face68(self) -> Float[ndarray, "T 68 3"]:
        """The face in the usual order, contour first."""
        return np.concatenate([self.points[:, CONTOUR], self.points[:, INNER_FACE]], axis=1)

    def save(self, file: Path) -> None:
        np.savez_compressed(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, file: Path) -> Keypoints:
        with np.load(file) as archive:
            return cls(**{f.name: archive[f.name] for f in fields(cls)})
