"""Array files (npy, npz) and pictures that others wrote: read whole and checked, or refused in one line."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image

from talkingavatar.errors import UserError
from talkingavatar.runtime.readers import Unreadable

LARGEST = 4 << 30  # bytes that an array file may unpack to
# What numpy and Pillow raise of files that are damaged in one way or another.
DAMAGE = (
    OSError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, SyntaxError, OverflowError,
    MemoryError, NotImplementedError, RecursionError, struct.error, zlib.error, zipfile.BadZipFile,
    Image.DecompressionBombError,
)  # fmt: skip


def read_npz(file: Path, keys: Sequence[str], action: str) -> dict[str, ndarray]:
    """All arrays of a file.

    Raises:
        UserError: it is missing.
        Unreadable: it is damaged, holds other things than plain arrays, or one of `keys` is not in it.
    """
    with damage_told(file, "a file of arrays (npz)", action):
        with zipfile.ZipFile(file) as archive:
            _check_size(sum(member.file_size for member in archive.infolist()))
        with np.load(file) as arrays:
            table = {key: arrays[key] for key in arrays.files}
    if missing := [key for key in keys if key not in table]:
        raise Unreadable(str(file), f"no {', '.join(missing)}", ", ".join(keys), action)
    return table


def read_npy(file: Path, action: str) -> ndarray:
    """The array of a file.

    Raises:
        UserError: it is missing.
        Unreadable: it is damaged, or not a plain array.
    """
    with damage_told(file, "an array (npy)", action):
        found = np.load(file, mmap_mode="r")
        if not isinstance(found, ndarray):
            raise ValueError("an archive")
        _check_size(found.nbytes)
        return np.array(found)


@contextmanager
def damage_told(file: Path, expected: str, action: str) -> Iterator[None]:
    """What goes wrong inside is the file's fault: one line says so."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(str(file), "no such file", expected, action) from error
    except DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        reason = "Python objects" if "allow_pickle" in str(error) or "Object arrays" in str(error) else reason
        raise Unreadable(
            str(file), f"no readable file, but a truncated or foreign one ({reason})", expected, action
        ) from error


def check_array(field: str, values: ndarray, shape: Sequence[int | str], action: str, finite: bool = True) -> None:
    """
    Args:
        shape: of each axis its length, or a name where any length but 0 is right.

    Raises:
        UserError: not numbers, of another shape, or (unless `finite` is False) with NaN or infinity.
    """
    expected = "numbers of shape " + "x".join(map(str, shape))
    if values.dtype.kind not in "fiub":
        found = "texts" if values.dtype.kind in "US" else f"values of type {values.dtype}"
        raise UserError(field, found, expected, action)
    right = [n == m if isinstance(m, int) else n > 0 for n, m in zip(values.shape, shape, strict=False)]
    if len(values.shape) == len(shape) > 0 and not right[0] and all(right[1:]):
        raise UserError(field, f"{len(values)} rows", f"{shape[0]} frames", action)
    if len(values.shape) != len(shape) or not all(right):
        raise UserError(field, f"shape {'x'.join(map(str, values.shape)) or 'of one number'}", expected, action)
    if finite:
        check_finite(field, values, action)


def check_finite(field: str, values: ndarray, action: str) -> None:
    """
    Raises:
        UserError: a number is not finite; the first one is named.
    """
    if not np.isfinite(values).all():
        place = np.argwhere(~np.isfinite(values))[0].tolist()
        kind = "NaN" if np.isnan(values[tuple(place)]) else "infinity"
        raise UserError(field, f"{kind} at {place}", "finite numbers", action)


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"{size / (1 << 30):.0f} GB when unpacked")
