"""Action units over time as OpenFace writes them: CSV in, CSV out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.action_units import INTENSITY, NAMES, SPOKEN
from talkingavatar.data.prompts.ask import Track
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.landmarks.csv_table import CsvTable, read_csv
from talkingavatar.runtime.files import write_atomically

FIELD, SUFFIX = "au", "_r"  # AU columns: intensity 0 to 5 (`_c` is mere presence)
AGAIN = "give a CSV as OpenFace's FeatureExtraction -aus writes it"


class UnitCurves:
    """Curves of a CSV's units; what it does not name stays as it is.

    Raises:
        UserError: no table, none of the 17 units in it, an intensity out of 0 to 5, or times that do not rise.
    """

    def __init__(self, file: Path) -> None:
        try:
            table = read_csv(file)
        except UserError as error:
            raise UserError(FIELD, error.found, error.expected, AGAIN) from error
        self.names = [name for name in NAMES if f"{name}{SUFFIX}" in table.column]
        if not self.names or not table.rows:
            found = f"{file}: " + ("no rows" if self.names else f"no column {NAMES[0]}{SUFFIX} to {NAMES[-1]}{SUFFIX}")
            raise UserError(FIELD, found, "intensities of action units", AGAIN)
        values = table.numbers([f"{name}{SUFFIX}" for name in self.names])
        if "success" in table.column:
            values[table.numbers(["success"])[:, 0] == 0] = np.nan
        self._check(file, values)
        self.values = values
        self.times = self._times(file, table)  # seconds; None: a row is a frame

    def _check(self, file: Path, values: Float[ndarray, "R C"]) -> None:
        for column, name in enumerate(self.names):
            known = values[:, column][np.isfinite(values[:, column])]
            wrong = known[(known < 0) | (known > INTENSITY)]
            if len(wrong):
                found = f"{file}: {name}{SUFFIX} of {wrong[0]:g}"
                raise UserError(FIELD, found, f"intensities from 0 to {INTENSITY:g}", AGAIN)
            if not len(known):
                raise UserError(FIELD, f"{file}: no number in {name}{SUFFIX}", "numbers, or no such column", AGAIN)

    def _times(self, file: Path, table: CsvTable) -> Float[ndarray, " R"] | None:
        if "timestamp" not in table.column:
            return None
        times = table.numbers(["timestamp"])[:, 0]
        if not times.any():  # as of pictures instead of a video
            return None
        if not (np.diff(times) > 0).all():
            row = int(np.flatnonzero(~(np.diff(times) > 0))[0]) + 2
            found = f"{file}: the timestamp of row {row} is not after the one before"
            raise UserError(FIELD, found, "one face's rows in order", AGAIN)
        return times - times[0]

    def track(self, fps: float, frames: int) -> Track:
        """On a clock that begins with them. Their units are as the curves say, those of speech (`SPOKEN`) at least."""
        seconds = np.arange(frames) / fps
        times = np.arange(len(self.values)) / fps if self.times is None else self.times
        within = seconds <= times[-1] + 1 / fps
        raised, calmed = np.zeros((frames, len(NAMES), 2)), np.zeros((frames, len(NAMES), 2))
        for column, name in enumerate(self.names):
            known = np.isfinite(self.values[:, column])
            curve = np.interp(seconds, times[known], self.values[known, column])
            raised[:, NAMES.index(name)] = np.where(within, curve, 0)[:, None]
            if name not in SPOKEN:
                calmed[:, NAMES.index(name)] = within[:, None]
        return Track(raised, calmed, within.astype(float))


def write_units(file: Path, units: Float[ndarray, "T 17"], fps: float) -> None:
    """As OpenFace does: a row a frame, counted from 1, of one face that was seen throughout."""
    rows = ["frame, face_id, timestamp, confidence, success, " + ", ".join(f"{name}{SUFFIX}" for name in NAMES)]
    for frame, values in enumerate(units):
        numbers = ", ".join(f"{value:.3f}" for value in values)
        rows.append(f"{frame + 1}, 0, {frame / fps:.4f}, 1.00, 1, {numbers}")
    write_atomically(file, "\n".join(rows) + "\n")
