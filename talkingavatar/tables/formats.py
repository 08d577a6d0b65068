"""Tables as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from talkingavatar.config.protocol import Column
from talkingavatar.metrics.paired import Paired
from talkingavatar.tables.claims import FAILS, HOLDS, UNKNOWN, Verdict
from talkingavatar.tables.headings import full_title
from talkingavatar.tables.table import NO_RUN, Cell, Table

STAND_IN = "†"  # behind a number that is not evaluate's


def to_markdown(table: Table) -> str:
    """A block of rows for each subject. Cells without a number refer to their reason beneath."""
    reasons: list[str] = []
    many = len(table.subjects) > 1
    rows = [[*["subject"] * many, "", *(column.title for column in table.columns)]]
    rows.append([*["---"] * many, "---", *("---:" for _ in table.columns)])
    for subject in table.subjects:
        for label in table.labels:
            line = table.line(label, subject)
            cells = line.cells if line else (Cell(None, why=NO_RUN),) * len(table.columns)
            mark = STAND_IN * (line is not None and line.origin == "summary")
            shown = [_shown(cell, column, reasons, mark) for cell, column in zip(cells, table.columns, strict=True)]
            rows.append([*[subject] * many, label, *shown])
    body = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    notes = [f"[{number}] {reason}" for number, reason in enumerate(reasons, start=1)] + list(table.notes)
    who = "" if many or not table.subjects else f"{table.subjects[0]}\n\n"
    told = "".join(f"- {note}\n" for note in notes)
    return f"### {table.title}\n\n{who}{body}\n\n{told}{_claims_markdown(table.verdicts)}"


CLAIMS = ("claim", "order", "verdict", "paper", "here", "over runs", "over the video", "why")


def claim_cells(found: Verdict) -> list[str]:
    """Under `CLAIMS`: differences in the column's unit, d their mean by their standard deviation."""
    claim, digits = found.claim, found.column.digits + 1
    here = "" if found.runs is None else f"{found.runs.mean:+.{digits}f}"
    paper = "" if found.reported is None else f"{found.reported:+.{digits}f}"
    runs = (
        ""
        if found.runs is None
        else f"{_effect(found.runs)}, {found.people} {'person' if found.people == 1 else 'people'}"
    )
    blocks = "" if found.blocks is None else _effect(found.blocks)
    order = f"{claim.order} in {full_title(found.column)}"
    return [f"{claim.name}: {claim.says}", order, found.verdict, paper, here, runs, blocks, found.why]


def claims_title(verdicts: Sequence[Verdict]) -> str:
    """How many hold, fail and cannot be told."""
    counts = (f"{sum(found.verdict == told for found in verdicts)} {told}" for told in (HOLDS, FAILS, UNKNOWN))
    return f"What is published: of {len(verdicts)} orderings {', '.join(counts)}"


def _effect(paired: Paired) -> str:
    if paired.count < 2:
        return "1 pair"
    return f"d {paired.effect:.2f}, p {paired.p:.2g}, n {paired.count}"


def _claims_markdown(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    rows = [list(CLAIMS), ["---"] * len(CLAIMS), *map(claim_cells, verdicts)]
    return f"\n{claims_title(verdicts)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def number(value: float, digits: int) -> str:
    """In the digits shown."""
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0"


def _shown(cell: Cell, column: Column, reasons: list[str], mark: str) -> str:
    if cell.value is None:
        if cell.why not in reasons:
            reasons.append(cell.why)
        return f"skipped [{reasons.index(cell.why) + 1}]"
    text = number(cell.value, column.digits) + mark
    if cell.spread is not None:
        text += f" ± {cell.spread:.{column.digits}f}"
    return f"**{text}**" if cell.best else text


CSV_COLUMNS = (
    "table",
    "subject",
    "row",
    "condition",
    "seeds",
    "metric",
    "title",
    "value",
    "spread",
    "skipped",
    "origin",
)


def to_csv(tables: Iterable[Table]) -> str:
    """One line a number, unscaled by nothing but what its title says."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for table in tables:
        for line in table.lines:
            for column, cell in zip(table.columns, line.cells, strict=True):
                seeds = " ".join(map(str, line.seeds))
                value, spread = ("" if v is None else f"{v:.6g}" for v in (cell.value, cell.spread))
                found = (table.name, line.subject, line.label, line.condition, seeds)
                writer.writerow([*found, column.key, column.title, value, spread, cell.why, line.origin])
    return text.getvalue()


def to_json(tables: Iterable[Table]) -> str:
    """The same, nested."""
    return json.dumps([_tree(table) for table in tables], indent=1)


def _tree(table: Table) -> dict[str, Any]:
    def tree(column: Column, cell: Cell) -> dict[str, Any]:
        return {"value": cell.value} | ({"spread": cell.spread} if cell.spread is not None else {}) | (
            {"skipped": cell.why} if cell.value is None else {})  # fmt: skip

    lines = [
        {
            "row": line.label,
            "condition": line.condition,
            "subject": line.subject,
            "seeds": list(line.seeds),
            "cells": {c.key: tree(c, cell) for c, cell in zip(table.columns, line.cells, strict=True)},
        }
        for line in table.lines
    ]
    scales = {c.key: c.scale for c in table.columns if c.scale != 1}
    told = {"notes": list(table.notes), "claims": [_claim_tree(verdict) for verdict in table.verdicts]}
    return {"table": table.name, "title": table.title, "scales": scales, "lines": lines, **told}


def _claim_tree(found: Verdict) -> dict[str, Any]:
    claim = found.claim
    told = {"claim": claim.name, "order": str(claim.order), "metric": claim.metric, "verdict": found.verdict}
    tests = {"runs": _paired_tree(found.runs), "blocks": _paired_tree(found.blocks)}
    return told | tests | {"reported": found.reported, "why": found.why}


def _paired_tree(paired: Paired | None) -> dict[str, Any] | None:
    if paired is None:
        return None
    effect = paired.effect if isfinite(paired.effect) else None
    return {"mean": paired.mean, "d": effect, "count": paired.count, "p": paired.p}
