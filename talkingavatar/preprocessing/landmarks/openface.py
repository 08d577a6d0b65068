"""OpenFace 2's CSV (`FeatureExtraction`): 68 landmarks, eye landmarks, action units, one row per frame and face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import CONTOUR, COUNT, INNER_FACE, Keypoints
from talkingavatar.preprocessing.landmarks.csv_table import CsvTable, read_csv
from talkingavatar.preprocessing.landmarks.face_tracks import followed
from talkingavatar.preprocessing.landmarks.source import Actions, Pictures, ProgressFunction, Seen
from talkingavatar.preprocessing.landmarks.unit import unit_of
from talkingavatar.preprocessing.numbering import Clock, Placed, Things, clocks_of

# Of the 28 landmarks of each eye the first 8 lie on the iris; eye 0 is the picture's left, the person's right one.
IRIS = ((28, 36), (0, 8))  # the person's left, right
INTENSITY, STRONGEST = "_r", 5.0  # AU columns: intensity 0 to 5 (`_c` is mere presence)
POINTS = [f"{axis}_{k}" for axis in "xy" for k in range(68)]
EYES = [f"eye_lmk_{axis}_{k}" for axis in "xy" for k in range(56)]
ONES = {"face_id": 0.0, "confidence": 1.0, "success": 1.0}  # columns that may be absent, and what is taken instead
ACTION = "run OpenFace on this video file, whole and at its own rate: FeatureExtraction -f <video> -2Dfp -aus -gaze"


class OpenFace:
    """Reads one CSV; coordinates in pixels of the video.

    Args:
        file: rows for frames of the clip or of its video.
        origin: of the clip's crop in that video, pixels; None: it is not cropped.
        size: width and height of the video's pictures, against which the unit is checked.
        clocks: by which rows may be counted; None: by the clip's frames.
    """

    name, version = "openface", 4

    def __init__(
        self,
        file: Path,
        origin: tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
        clocks: Sequence[Clock] | None = None,
    ) -> None:
        self.file, self.origin, self.size, self.clocks = file, origin, size, clocks

    def detect(self, clip: Pictures, folder: Path, progress: ProgressFunction) -> Seen:
        """See `LandmarkSource.detect`. The face seen longest and largest is taken; rows without success are gaps."""
        table = read_csv(self.file)
        if lacking := [name for name in POINTS if name not in table.column]:
            raise UserError("landmarks", f"{self.file}: no column {lacking[0]}", "2D landmarks",
                            "run OpenFace with -2Dfp (and -aus -gaze)")  # fmt: skip
        warnings = [f"{self.file}: no column {name}: every row counts alike" for name in ("confidence", "success")
                    if name not in table.column]  # fmt: skip
        marks = {name: _column(table, name, value) for name, value in ONES.items()}
        xy = table.numbers(POINTS)
        tracked = (marks["success"] > 0) & np.isfinite(xy).all(axis=1) & (xy != 0).any(axis=1)
        if not tracked.any():
            found = f"{self.file}: a face in none of {len(table.rows)} rows"
            raise UserError("landmarks", found, "rows with landmarks", ACTION)
        if self.size is not None:
            seen = xy[tracked].reshape(-1, 2, 68).swapaxes(1, 2).reshape(-1, 2)
            if unit_of(seen, self.size, True, str(self.file), ACTION).scale[0] != 1:
                raise UserError("landmarks", f"{self.file}: points up to {seen.max():.2g}", "pixels", ACTION)
        frame = _frames(table)
        placed = self._placed(table, frame, clip.frames)
        numbers = np.unique(frame)
        face, shown = followed(marks["face_id"], frame, tracked, xy.reshape(-1, 2, 68).swapaxes(1, 2))
        best = _best_rows(frame, tracked & face, marks["confidence"])
        rows = np.array([-1 if place < 0 else best.get(int(numbers[place]), -1) for place in placed.rows])
        counts = Counter(np.unique([frame[tracked], marks["face_id"][tracked]], axis=1)[0].astype(int).tolist())
        faces = np.array([0 if place < 0 else counts[int(numbers[place])] for place in placed.rows])
        progress("reading OpenFace's table", 1)()
        picked = _Picked(table, rows)
        believed = placed.believed | {"unit": "pixels of the video", "face": shown}
        keypoints = self._keypoints(picked, faces, marks["confidence"])
        return Seen(keypoints, None, _actions(picked), believed, (*warnings, *placed.warnings))

    def _placed(self, table: CsvTable, frame: Int[ndarray, " R"], frames: int) -> Placed:
        clocks = self.clocks or clocks_of(range(frames), frames, 1.0, 1.0)
        found = f"{self.file}: frames up to {frame.max()}"
        things = Things("landmarks", found, "1 to {}", ACTION, usual=1)
        numbers = np.unique(frame).tolist()
        return things.place(numbers, clocks, _rate(table, frame) if self.clocks else None)

    def _keypoints(self, picked: _Picked, faces: Int[ndarray, " T"], confidence: Float[ndarray, " R"]) -> Keypoints:
        frames = len(picked.rows)
        points = np.full((frames, COUNT, 3), np.nan, np.float32)
        iris, mesh = np.full((frames, 2, 3), np.nan, np.float32), np.full((frames, 478, 3), np.nan, np.float32)
        points[..., 2] = iris[..., 2] = mesh[..., 2] = 0.0
        sure = np.where(picked.rows < 0, 0.0, np.nan_to_num(confidence[picked.rows])).clip(0, 1)
        origin = self.origin or (0.0, 0.0)
        face = picked.of(POINTS).reshape(frames, 2, 68).swapaxes(1, 2) - origin
        points[:, CONTOUR, :2], points[:, INNER_FACE, :2] = face[:, :17], face[:, 17:]
        points[:, CONTOUR, 2] = points[:, INNER_FACE, 2] = sure[:, None]
        if all(name in picked.table.column for name in EYES):
            eyes = picked.of(EYES).reshape(frames, 2, 56)
            for side, eye in enumerate(IRIS):
                iris[:, side, :2] = eyes[:, :, slice(*eye)].mean(axis=2) - origin
            iris[..., 2] = np.where(np.isfinite(iris[..., :2]).all(axis=2), sure[:, None], 0.0)
        return Keypoints(points, iris, mesh, faces)


class _Picked:
    """One row per frame; NaN where the face was not tracked."""

    def __init__(self, table: CsvTable, rows: Int[ndarray, " T"]) -> None:
        self.table, self.rows = table, rows

    def of(self, names: Sequence[str]) -> Float[ndarray, "T K"]:
        return np.where(self.rows[:, None] < 0, np.nan, self.table.numbers(names)[self.rows])


def _column(table: CsvTable, name: str, otherwise: float) -> Float[ndarray, " R"]:
    if name not in table.column:
        return np.full(len(table.rows), otherwise)
    return table.numbers([name])[:, 0]


def _frames(table: CsvTable) -> Int[ndarray, " R"]:
    """The number of each row's frame; rows in order where there is no such column.

    Raises:
        UserError: a row without one.
    """
    if "frame" not in table.column:
        return np.arange(1, len(table.rows) + 1)
    frame = table.numbers(["frame"])[:, 0]
    wrong = np.flatnonzero(~np.isfinite(frame) | (frame < 0) | (frame > 1e9) | (frame != np.round(frame)))
    if len(wrong):
        cell = table.rows[wrong[0]][table.column["frame"]].strip()
        raise UserError("landmarks", f"{table.file}: frame {cell or 'nothing'} in row {wrong[0] + 1}",
                        "a whole number", ACTION)  # fmt: skip
    return frame.astype(int)


def _rate(table: CsvTable, frame: Int[ndarray, " R"]) -> float | None:
    """Frames a second, as the time stamps tell; they are all 0 where OpenFace saw pictures instead of a video."""
    times = _column(table, "timestamp", np.nan)
    known = np.flatnonzero(np.isfinite(times))
    if len(known) < 2:
        return None
    first, last = known[np.argmin(frame[known])], known[np.argmax(frame[known])]
    seconds = times[last] - times[first]
    return float((frame[last] - frame[first]) / seconds) if seconds > 0 else None


def _best_rows(
    frame: Int[ndarray, " R"], tracked: Bool[ndarray, " R"], confidence: Float[ndarray, " R"]
) -> dict[int, int]:
    """Of each frame the surest row: tables put together may have some twice."""
    order = sorted(np.flatnonzero(tracked).tolist(), key=lambda row: np.nan_to_num(confidence[row]))
    return {int(frame[row]): row for row in order}


def _actions(picked: _Picked) -> Actions | None:
    """AU intensities, of columns that tell any."""
    names = [name for name in picked.table.column if name.startswith("AU") and name.endswith(INTENSITY)]
    values = picked.of(names).astype(np.float32)
    told = np.flatnonzero(np.isfinite(values).any(axis=0))
    if not len(told):
        return None
    return Actions([names[column].removesuffix(INTENSITY) for column in told], values[:, told], STRONGEST)
