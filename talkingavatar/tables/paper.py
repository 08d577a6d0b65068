"""A paper's own figures as a table, from `experiments/<table>/paper.json`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from talkingavatar.config.protocol import Column, Protocol
from talkingavatar.errors import UserError
from talkingavatar.paths import shipped
from talkingavatar.tables.claims import NOT_ROWS, label
from talkingavatar.tables.table import Cell, Line, Table, mark_best, with_mean


def paper_file(name: str) -> Path | None:
    """The figures of a protocol's table, in the working directory or of the package; None where there are none."""
    files = (root / name / "paper.json" for root in (Path.cwd() / "experiments", shipped("experiments")))
    return next((file for file in files if file.is_file()), None)


def read_paper(file: Path, name: str, protocol: Protocol) -> Table:
    """The figures as they stand there, under the protocol's columns and labels where they are the same.

    Raises:
        UserError: the file is not of the form `source, subjects, columns, <row>: [[number ...] a subject]`.
    """
    try:
        content = json.loads(file.read_text())
        return _table(content, name, protocol)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        form = "source, subjects, columns and a list of numbers for each row and subject"
        raise UserError(str(file), f"{type(error).__name__}: {error}", form, "correct the file") from error


def _table(content: dict[str, Any], name: str, protocol: Protocol) -> Table:
    subjects = tuple(content["subjects"])
    rows = {key: value for key, value in content.items() if key not in NOT_ROWS and isinstance(value, list)}
    extra = {key: value for key, value in content.items() if isinstance(value, dict)}  # one number a row
    columns = [_column(title, protocol) for title in (*content["columns"], *extra)]
    labels = {row: label(row, protocol) for row in rows}
    once = [{labels[row]: value for row, value in values.items() if row in labels} for values in extra.values()]
    lines = []
    for place, subject in enumerate(subjects):
        for row, figures in rows.items():
            cells = (*(_cell(value) for value in figures[place]), *(_cell(None) for _ in once))
            if len(cells) != len(columns):
                raise ValueError(f"{len(figures[place])} numbers of {row}, {subject}")
            lines.append(Line(labels[row], "", subject, (), cells, "reported"))
    source = str(content["source"])
    title = source if "report" in source else f"{source}, as reported"
    table = Table(f"{name} reported", title, tuple(columns), subjects, tuple(labels.values()), tuple(lines))
    return _marked(_with_single(with_mean(table), once))


def _with_single(table: Table, once: list[dict[str, float]]) -> Table:
    """The last columns of the first block: figures that a paper gives once for all subjects."""
    if not once:
        return table
    lines = []
    for line in table.lines:
        single = tuple(_cell(values.get(line.label)) for values in once)
        first = line.subject == table.subjects[0]
        lines.append(replace(line, cells=(*line.cells[: -len(once)], *single)) if first else line)
    return replace(table, lines=tuple(lines))


def _marked(table: Table) -> Table:
    return replace(table, lines=tuple(mark_best(line, list(table.lines), list(table.columns)) for line in table.lines))


def _cell(value: float | None) -> Cell:
    return Cell(None, why="not reported") if value is None else Cell(float(value))


def _column(title: str, protocol: Protocol) -> Column:
    """The protocol's first column of that title, else one of its own."""
    known = {_plain(column.title): column for column in reversed(protocol.columns)}
    return known.get(_plain(title)) or Column(title, title, best="none")


def _plain(title: str) -> str:
    return title.lower().replace(" ", "")
