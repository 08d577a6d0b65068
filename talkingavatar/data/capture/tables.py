"""Tables of a capture: npz files whose rows are frames."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.errors import UserError


@dataclass(frozen=True)
class Table:
    """Named values of every frame: facial actions, an emotion, a motion's latent."""

    names: list[str]
    values: Float[ndarray, "T A"]
    scale: float = 1.0  # the value that says "fully": 1, or 5 of OpenFace's intensities

    def save(self, file: Path) -> None:
        np.savez(file, allow_pickle=False, names=np.array(self.names), values=self.values, scale=self.scale)


def read_table(file: Path, frames: int) -> Table:
    """
    Raises:
        UserError: it is missing or damaged, or has other than a row a frame, a name a column, and finite numbers.
    """
    arrays = read_npz(file, ("names", "values", "scale"))
    names, values = arrays["names"].tolist(), arrays["values"]
    if values.shape != (frames, len(names)):
        expected = f"{frames} frames of {len(names)} names"
        raise UserError(f"{file}:values", f"{values.shape}", expected, "make the capture again")
    check_finite(f"{file}:values", values)
    return Table(names, values.astype(np.float32), float(arrays["scale"]))


def check_rows(field: str, values: ndarray, frames: int) -> None:
    """
    Raises:
        UserError: there is not a row a frame.
    """
    if len(values) != frames:
        raise UserError(field, f"{len(values)} rows", f"{frames} frames", "track the video again")


def check_finite(field: str, values: ndarray) -> None:
    """
    Raises:
        UserError: a number is not finite; the first one is named.
    """
    if not np.isfinite(values).all():
        row = np.argwhere(~np.isfinite(values))[0].tolist()
        raise UserError(field, f"NaN at {row}", "finite numbers", "track that frame again or cut it out")


def read_npz(file: Path, keys: tuple[str, ...]) -> dict[str, ndarray]:
    """All arrays of a file.

    Raises:
        UserError: it is missing or damaged, or one of `keys` is not in it.
    """
    try:
        with np.load(file) as archive:
            table = {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise UserError(str(file), "no such file", "a table", "make the capture again") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(str(file), f"an unreadable file ({error})", "an npz", "make the capture again") from error
    if missing := [key for key in keys if key not in table]:
        raise UserError(str(file), f"no {', '.join(missing)}", ", ".join(keys), "make the capture again")
    return table
