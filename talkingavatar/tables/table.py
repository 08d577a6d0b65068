"""A table of results: a protocol's rows, a block of columns a subject, a reason in every cell without a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import isfinite
from statistics import mean, stdev
from typing import Any

from talkingavatar.config.protocol import TRUTH, Column, Protocol, Row
from talkingavatar.tables.claims import Verdict

# What `evaluate` wrote about one run under one condition; or, with an `origin` of its own and a `why`, what stands in.
Result = Mapping[str, Any]
ORIGINS = ("evaluate", "summary", "absent")  # the first that a row has is what its numbers are taken from
NO_RUN = "no such run"
NAMED = 4  # runs named in a note, the others are counted


@dataclass(frozen=True)
class Cell:
    """Mean over seeds or people, or why there is none."""

    value: float | None
    spread: float | None = None  # standard deviation over them, of two or more
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
    origin: str = "evaluate"  # of ORIGINS, or "reported" by a paper
    left_out: tuple[str, ...] = ()  # runs that are not in the mean, and why


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
    verdicts: tuple[Verdict, ...] = ()  # on the claims of its paper

    def line(self, label: str, subject: str) -> Line | None:
        return next((line for line in self.lines if (line.label, line.subject) == (label, subject)), None)


def build_table(name: str, protocol: Protocol, results: Iterable[Result], every_row: bool = False) -> Table:
    """Fill a protocol's rows. Several seeds of one row are averaged; a row without any result is left out, unless
    every row is asked for."""
    results = list(results)
    rows = protocol.rows_for((str(result["experiment"]), str(result["family"])) for result in results)
    subjects = tuple(sorted({str(result["subject"]) for result in results}))
    lines = []
    for subject in subjects:
        if protocol.truth:
            lines.append(_truth(protocol, subject, [r for r in results if r["subject"] == subject]))
        for row in rows:
            if found := [r for r in results if r["subject"] == subject and fits(row, r)]:
                lines.append(_line(row, protocol.columns, subject, found))
    lines = [mark_best(line, lines, protocol.columns) for line in lines]
    labels = tuple(dict.fromkeys([TRUTH] * protocol.truth + [row.label for row in rows]))
    kept = tuple(label for label in labels if every_row or any(line.label == label for line in lines))
    return Table(name, protocol.title, tuple(protocol.columns), subjects, kept, tuple(lines), _notes(results, lines))


def with_mean(table: Table) -> Table:
    """The same, with a first block for the mean over subjects where there are several. A cell that one of them lacks
    has no mean."""
    if len(table.subjects) < 2:
        return table
    who, lines = f"mean of {len(table.subjects)}", []
    for label in table.labels:
        found = [line for subject in table.subjects if (line := table.line(label, subject))]
        if len(found) == len(table.subjects):
            columns = zip(*(line.cells for line in found), strict=True)
            cells = tuple(_mean_of(cells) for cells in columns)
            if len({line.origin for line in found}) > 1:
                cells = (Cell(None, why="not measured alike for every subject"),) * len(cells)
            lines.append(Line(label, found[0].condition, who, found[0].seeds, cells, found[0].origin))
    lines = [mark_best(line, lines, list(table.columns)) for line in lines]
    note = f"± of the {who} is the standard deviation over people"
    return replace(table, subjects=(who, *table.subjects), lines=(*lines, *table.lines), notes=(*table.notes, note))


def _mean_of(cells: Sequence[Cell]) -> Cell:
    values = [cell.value for cell in cells if cell.value is not None]
    whys = [cell.why for cell in cells if cell.value is None]
    return (
        Cell(None, why=whys[0]) if whys else Cell(mean(values), stdev(values) if all(map(isfinite, values)) else None)
    )


def fits(row: Row, result: Result) -> bool:
    """Whether a result is one of a row's."""
    return fnmatchcase(result["experiment"], row.experiment) and result["condition"] == row.condition


def _line(row: Row, columns: list[Column], subject: str, found: list[Result]) -> Line:
    """One row: the mean over the runs of the best origin; the others are named."""
    origin = min((origin_of(r) for r in found), key=ORIGINS.index)
    counted = [r for r in found if origin_of(r) == origin]
    left_out = tuple(f"seed {r['seed']}: {r['why']}" for r in found if origin_of(r) != origin)
    cells = tuple(_cell(column, row.prefix, counted, counted[0].get("why", "not measured")) for column in columns)
    seeds = tuple(sorted(int(r["seed"]) for r in counted))
    return Line(row.label, row.condition, subject, seeds, cells, origin, left_out)


def origin_of(result: Result) -> str:
    """One of `ORIGINS`."""
    return str(result.get("origin", "evaluate"))


def _truth(protocol: Protocol, subject: str, results: list[Result]) -> Line:
    """The ground truth's own numbers; those that compare with the ground truth are not its own."""
    truth = next((r["truth"] for r in results if "truth" in r), None)
    if truth is None:
        cells = tuple(Cell(None, why="not measured: no run of this subject was evaluated") for _ in protocol.columns)
        return Line(TRUTH, "", subject, (), cells)
    cells = tuple(_cell(column, "", [truth], absent="compares with the ground truth") for column in protocol.columns)
    return Line(TRUTH, "", subject, (), cells)


def _cell(column: Column, prefix: str, results: list[Result], absent: str = "not measured") -> Cell:
    key = prefix + column.key
    values = [r["metrics"][key] * column.scale for r in results if r["metrics"].get(key) is not None]
    if not values:
        return Cell(None, why=reason(key, results[0].get("skipped", {})) or absent)
    spread = len(values) > 1 and all(map(isfinite, values))
    return Cell(mean(values), stdev(values) if spread else None)


def reason(key: str, skipped: Mapping[str, str]) -> str:
    """The reason given for the number itself, its group (before the last slash) or its kind (after it)."""
    parts = key.split("/")
    groups = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((skipped[name] for name in (*groups, parts[-1]) if name in skipped), "")


def mark_best(line: Line, lines: list[Line], columns: list[Column]) -> Line:
    """Marks the cells that no other row of the subject beats, in the digits shown."""
    if line.label == TRUTH:
        return line
    rivals = [other for other in lines if other.subject == line.subject and other.label != TRUTH]
    rivals = [other for other in rivals if other.origin in ("evaluate", "reported")] or rivals
    if line not in rivals:  # a stand-in beside what was measured
        return line
    cells = []
    for i, (cell, column) in enumerate(zip(line.cells, columns, strict=True)):
        values = [round(v, column.digits) for other in rivals if (v := other.cells[i].value) is not None]
        if cell.value is None or column.best == "none" or len(values) < 2:
            cells.append(cell)
            continue
        top = max(values) if column.best == "high" else min(values)
        cells.append(Cell(cell.value, cell.spread, cell.why, round(cell.value, column.digits) == top))
    return replace(line, cells=tuple(cells))


def _notes(results: list[Result], lines: list[Line]) -> tuple[str, ...]:
    notes = _warnings(lines)
    results = [r for r in results if origin_of(r) == "evaluate"] or [r for r in results if origin_of(r) == "summary"]
    versions = sorted({int(result["suite"]) for result in results})
    if len(versions) > 1:
        listed = " and ".join(map(str, versions))
        notes.append(f"MIXED SUITE VERSIONS {listed}: these rows are not comparable; evaluate all runs again")
    for title, key in (("suite", "suite"), ("commit", "commit"), ("device", "device"), ("frames", "split")):
        values = list(dict.fromkeys(_text(result.get(key)) for result in results))
        notes += [f"{title}: {'; '.join(values)}"] if values else []
    notes += list(dict.fromkeys(note for result in results for note in _external(result)))
    backbones = list(dict.fromkeys(text for result in results for text in _backbones(result)))
    notes += [f"weights: {'; '.join(backbones)}"] if backbones else []
    if any(len(line.seeds) > 1 for line in lines):
        notes.append("± is the standard deviation over seeds")
    return tuple(notes)


def _warnings(lines: list[Line]) -> list[str]:
    """What a row's mean hides."""
    notes = []
    if any(line.origin == "summary" for line in lines):
        notes.append(
            "† from the fit's own summary, not from evaluate: other frames; never best beside what was measured"
        )
    for line in lines:
        if len(set(line.seeds)) < len(line.seeds):
            notes.append(f"{line.label}, {line.subject}: several runs of one seed are averaged as if they were seeds")
        more = [f"{len(line.left_out) - NAMED} more"] if len(line.left_out) > NAMED else []
        if line.left_out:
            notes.append(f"{line.label}, {line.subject}, not in the mean: {'; '.join([*line.left_out[:NAMED], *more])}")
    return notes


def _external(result: Result) -> list[str]:
    """What was done to a video that others rendered before it was measured."""
    told = result.get("external", {}).get("told", ())
    return [f"{result['experiment']}, {result['subject']}, external: {'; '.join(told)}"] if told else []


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)


def _backbones(result: Result) -> list[str]:
    found: Mapping[str, Any] = result.get("backbones", {})
    return [f"{name} {facts.get('origin', facts.get('file'))}{_short(facts)}" for name, facts in found.items()]


def _short(facts: Mapping[str, Any]) -> str:
    return f", sha256 {facts['sha256'][:12]}" if "sha256" in facts else ""
