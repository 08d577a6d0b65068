"""A CSV table of numbers as programs and spreadsheets write it: any separator, quotes, a byte order mark, commas in
numbers, texts where a number is missing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.errors import UserError

SEPARATORS = ("\t", ";", ",", " ")  # the first that a table's first line has
AGAIN = "run OpenFace again"
TRUTH = {"true": "1", "false": "0"}


@dataclass(frozen=True)
class CsvTable:
    """Cells as they are written; numbers are made of the columns that are asked for."""

    file: Path
    column: dict[str, int]
    rows: list[list[str]]

    def numbers(self, names: Iterable[str]) -> Float[ndarray, "R C"]:
        """These columns; NaN where a cell is empty or no finite number."""
        places = [self.column[name] for name in names]
        values = np.array([[_number(row[place]) for place in places] for row in self.rows], np.float64)
        return values.reshape(len(self.rows), len(places))


def read_csv(file: Path) -> CsvTable:
    """
    Raises:
        UserError: it cannot be read, is no table, or a row has not a cell for each name.
    """
    try:
        text = _decoded(file.read_bytes())
    except OSError as error:
        raise UserError("landmarks", f"{file}: {error.strerror}", "OpenFace's CSV", AGAIN) from error
    except UnicodeError as error:
        raise UserError("landmarks", f"{file}: no text", "OpenFace's CSV", AGAIN) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = text.lstrip().partition("\n")[0]
    separator = next((sign for sign in SEPARATORS if sign in first), ",")
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise UserError("landmarks", f"{file}: {error}", "OpenFace's CSV", AGAIN) from error
    filled = [(number, line) for number, line in enumerate(lines, 1) if any(cell.strip() for cell in line)]
    names = [name.strip() for name in filled[0][1]] if filled else []
    while names and not names[-1]:
        names.pop()
    rows = [_row(file, number, line, names) for number, line in filled[1:] if line != filled[0][1]]
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise UserError("landmarks", f"{file}: column {twice[0]} twice", "each name once", AGAIN)
    return CsvTable(file, {name: index for index, name in enumerate(names)}, rows)


def _decoded(content: bytes) -> str:
    """Spreadsheets write UTF-16 as well; a line that names the separator for them is left out."""
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content.decode("utf-16" if wide else "utf-8-sig")
    if "\0" in text:
        raise UnicodeError("zero bytes")
    return text.partition("\n")[2] if text.lower().startswith("sep=") else text


def _row(file: Path, number: int, line: list[str], names: list[str]) -> list[str]:
    if len(line) < len(names) or any(cell.strip() for cell in line[len(names) :]):
        found = f"{file}: {len(line)} cells in line {number}"
        raise UserError("landmarks", found, f"{len(names)}, as many as names", AGAIN)
    return line


def _number(cell: str) -> float:
    """With a point or a comma, or a truth value; "-nan(ind)", "1.#IND" and other texts are none."""
    text = cell.strip()
    try:
        value = float(TRUTH.get(text.lower(), text.replace(",", ".")))
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan
