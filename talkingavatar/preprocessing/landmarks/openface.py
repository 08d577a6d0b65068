"""OpenFace 2's CSV (`FeatureExtraction`): 68 landmarks, eye landmarks, action units, one row per frame and face."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import CONTOUR, COUNT, INNER_FACE, Keypoints
from talkingavatar.preprocessing.landmarks.source import Actions, Pictures, ProgressFunction, Seen

# Of the 28 landmarks of each eye the first 8 lie on the iris; eye 0 is the picture's left, the person's right one.
IRIS = ((28, 36), (0, 8))  # the person's left, right
INTENSITY, STRONGEST = "_r", 5.0  # AU columns: intensity 0 to 5 (`_c` is mere presence)


class OpenFace:
    """Reads one CSV; coordinates in pixels of the video.

    Args:
        file: rows for every frame of the clip.
        origin: of the clip's crop in that video, pixels.
    """

    name, version = "openface", 2

    def __init__(self, file: Path, origin: tuple[float, float] = (0.0, 0.0)) -> None:
        self.file, self.origin = file, origin

    def detect(self, clip: Pictures, folder: Path, progress: ProgressFunction) -> Seen:
        """See `LandmarkSource.detect`. The face with the most frames is taken; rows without success are gaps."""
        names, numbers = _read(self.file)
        column = {name: index for index, name in enumerate(names)}
        wanted = ["frame", "confidence", "success", *(f"{axis}_{k}" for axis in "xy" for k in range(68))]
        if lacking := [name for name in wanted if name not in column]:
            raise UserError(
                "landmarks",
                f"{self.file}: no column {lacking[0]}",
                "2D landmarks",
                "run OpenFace with -2Dfp -aus -gaze",
            )
        frame = numbers[:, column["frame"]].astype(int) - 1
        if not len(frame) or frame.min() < 0 or frame.max() + 1 != clip.frames:
            raise UserError(
                "landmarks", f"{self.file}: frames up to {frame.max() + 1 if len(frame) else 0}",
                f"1 to {clip.frames}", "run OpenFace on the same video, at its own frame rate and without a cut",
            )  # fmt: skip
        tracked = numbers[:, column["success"]] > 0
        faces = np.bincount(frame[tracked], minlength=clip.frames)
        if "face_id" in column and tracked.any():
            identity = numbers[:, column["face_id"]].astype(int)
            tracked &= identity == Counter(identity[tracked].tolist()).most_common(1)[0][0]
        rows = np.full(clip.frames, -1)
        rows[frame[tracked]] = np.flatnonzero(tracked)
        progress("reading OpenFace's table", 1)()
        table = _Table(column, numbers, rows)
        return Seen(self._keypoints(table, faces), None, _actions(table))

    def _keypoints(self, table: _Table, faces: ndarray) -> Keypoints:
        frames = len(table.rows)
        points = np.full((frames, COUNT, 3), np.nan, np.float32)
        iris, mesh = np.full((frames, 2, 3), np.nan, np.float32), np.full((frames, 478, 3), np.nan, np.float32)
        points[..., 2] = iris[..., 2] = mesh[..., 2] = 0.0
        confidence = np.nan_to_num(table.of("confidence"))
        face = np.stack([table.many("x_", range(68)), table.many("y_", range(68))], axis=-1) - self.origin
        points[:, CONTOUR, :2], points[:, INNER_FACE, :2] = face[:, :17], face[:, 17:]
        points[:, CONTOUR, 2] = points[:, INNER_FACE, 2] = confidence[:, None]
        if "eye_lmk_x_0" in table.column:
            for side, eye in enumerate(IRIS):
                centre = [table.many(f"eye_lmk_{axis}_", range(*eye)).mean(axis=1) for axis in "xy"]
                iris[:, side, :2] = np.stack(centre, axis=-1) - self.origin
            iris[..., 2] = confidence[:, None]
        return Keypoints(points, iris, mesh, faces)


class _Table:
    """One row per frame; NaN where the face was not tracked."""

    def __init__(self, column: dict[str, int], numbers: Float[ndarray, "R C"], rows: ndarray) -> None:
        self.column, self.rows = column, rows
        self.values = np.where(rows[:, None] < 0, np.nan, numbers[rows])

    def of(self, name: str) -> Float[ndarray, " T"]:
        return self.values[:, self.column[name]]

    def many(self, prefix: str, numbers: range) -> Float[ndarray, "T K"]:
        return self.values[:, [self.column[f"{prefix}{k}"] for k in numbers]]


def _actions(table: _Table) -> Actions | None:
    """AU intensities."""
    names = [name for name in table.column if name.startswith("AU") and name.endswith(INTENSITY)]
    if not names:
        return None
    values = np.stack([table.of(name) for name in names], axis=1)
    return Actions([name.removesuffix(INTENSITY) for name in names], values.astype(np.float32), STRONGEST)


def _read(file: Path) -> tuple[list[str], Float[ndarray, "R C"]]:
    """Header and numbers. OpenFace 2.0 writes a space before every name."""
    try:
        with file.open(newline="") as stream:
            header, *lines = list(csv.reader(stream)) or [[]]
            return [name.strip() for name in header], np.array(lines, np.float64).reshape(-1, len(header))
    except (OSError, ValueError) as error:
        raise UserError("landmarks", f"{file}: {error}", "OpenFace's CSV", "run OpenFace again") from error
