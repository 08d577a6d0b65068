"""A table of results: a protocol's rows, a block of columns a subject, a reason in every cell without a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from statistics import mean, stdev
from typing import Any

from talkingavatar.config.protocol import Column, Protocol, Row

TRUTH = "ground truth"
Result = Mapping[str, Any]  # what `evaluate` wrote about one run under one condition


@dataclass(frozen=True)
class Cell:
    """Mean over seeds, or why there is none."""

    value: float | None
    spread: float | None = None  # standard deviation over seeds, of two or more
    why: str = ""
    best: bool = False


@dataclass(frozen=True)
class Line:
    """One row of one subject."""

    label: str
    condition: str
    subject: str
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """What `formats` turns into text. `notes` say how it was measured and what a reader has to know."""

    name: str
    title: str
    columns: tuple[Column, ...]
    subjects: tuple[str, ...]
    labels: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = field(default=())

    def line(self, label: str, subject: str) -> Line | None:
        return next((line for line in self.lines if (line.label, line.subject) == (label, subject)), None)


def build_table(name: str, protocol: Protocol, results: Iterable[Result]) -> Table:
    """Fill a protocol's rows. Several seeds of one row are averaged; a row without any result is left out."""
    results = list(results)
    rows = _expanded(protocol.rows, results)
    subjects = tuple(sorted({str(result["subject"]) for result in results}))
    lines = []
    for subject in subjects:
        if protocol.truth:
            lines.append(_truth(protocol, subject, [r for r in results if r["subject"] == subject]))
        for row in rows:
            if found := [r for r in results if r["subject"] == subject and _fits(row, r)]:
                seeds = tuple(sorted(int(r["seed"]) for r in found))
                cells = tuple(_cell(column, row.prefix, found) for column in protocol.columns)
                lines.append(Line(row.label, row.condition, subject, seeds, cells))
    lines = [_with_best(line, lines, protocol.columns) for line in lines]
    labels = tuple(dict.fromkeys([TRUTH] * protocol.truth + [row.label for row in rows]))
    kept = tuple(label for label in labels if any(line.label == label for line in lines))
    return Table(name, protocol.title, tuple(protocol.columns), subjects, kept, tuple(lines), _notes(results, lines))


def _expanded(rows: list[Row], results: list[Result]) -> list[Row]:
    """A row without a label stands for one row an experiment, named after it."""
    expanded = []
    for row in rows:
        if row.label:
            expanded.append(row)
            continue
        named = dict.fromkeys(str(r["experiment"]) for r in results if fnmatchcase(r["experiment"], row.experiment))
        expanded += [Row(experiment, experiment, row.condition, row.prefix) for experiment in named]
    return expanded


def _fits(row: Row, result: Result) -> bool:
    return fnmatchcase(result["experiment"], row.experiment) and result["condition"] == row.condition


def _truth(protocol: Protocol, subject: str, results: list[Result]) -> Line:
    """The ground truth's own numbers; those that compare with the ground truth are not its own."""
    truth = results[0]["truth"]
    cells = tuple(_cell(column, "", [truth], absent="compares with the ground truth") for column in protocol.columns)
    return Line(TRUTH, "", subject, (), cells)


def _cell(column: Column, prefix: str, results: list[Result], absent: str = "not measured") -> Cell:
    key = prefix + column.key
    values = [r["metrics"][key] * column.scale for r in results if r["metrics"].get(key) is not None]
    if not values:
        return Cell(None, why=_why(key, results[0].get("skipped", {})) or absent)
    return Cell(mean(values), stdev(values) if len(values) > 1 else None)


def _why(key: str, skipped: Mapping[str, str]) -> str:
    """The reason given for the number itself, its group (before the last slash) or its kind (after it)."""
    parts = key.split("/")
    groups = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((skipped[name] for name in (*groups, parts[-1]) if name in skipped), "")


def _with_best(line: Line, lines: list[Line], columns: list[Column]) -> Line:
    """Marks the cells that no other row of the subject beats, in the digits shown."""
    if line.label == TRUTH:
        return line
    rivals = [other for other in lines if other.subject == line.subject and other.label != TRUTH]
    cells = []
    for i, (cell, column) in enumerate(zip(line.cells, columns, strict=True)):
        values = [round(v, column.digits) for other in rivals if (v := other.cells[i].value) is not None]
        if cell.value is None or column.best == "none" or len(values) < 2:
            cells.append(cell)
            continue
        top = max(values) if column.best == "high" else min(values)
        cells.append(Cell(cell.value, cell.spread, cell.why, round(cell.value, column.digits) == top))
    return Line(line.label, line.condition, line.subject, line.seeds, tuple(cells))


def _notes(results: list[Result], lines: list[Line]) -> tuple[str, ...]:
    notes = []
    versions = sorted({int(result["suite"]) for result in results})
    if len(versions) > 1:
        listed = " and ".join(map(str, versions))
        notes.append(f"MIXED SUITE VERSIONS {listed}: these rows are not comparable; evaluate all runs again")
    for title, key in (("suite", "suite"), ("commit", "commit"), ("device", "device"), ("frames", "split")):
        values = list(dict.fromkeys(_text(result.get(key)) for result in results))
        notes.append(f"{title}: {'; '.join(values)}")
    backbones = list(dict.fromkeys(text for result in results for text in _backbones(result)))
    notes += [f"weights: {'; '.join(backbones)}"] if backbones else []
    if any(len(line.seeds) > 1 for line in lines):
        notes.append("± is the standard deviation over seeds")
    return tuple(notes)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)


def _backbones(result: Result) -> list[str]:
    found: Mapping[str, Any] = result.get("backbones", {})
    return [f"{name} {facts.get('origin', facts.get('file'))}{_short(facts)}" for name, facts in found.items()]


def _short(facts: Mapping[str, Any]) -> str:
    return f", sha256 {facts['sha256'][:12]}" if "sha256" in facts else ""
