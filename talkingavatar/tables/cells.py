"""A table of results as HTML: rules as in a printed table, reasons on hover and beneath."""

from __future__ import annotations

from html import escape

from talkingavatar.config.protocol import Column
from talkingavatar.tables.formats import STAND_IN, number
from talkingavatar.tables.headings import headings
from talkingavatar.tables.table import NO_RUN, TRUTH, Cell, Line, Table

WORDS = ("running", "failed", "preempted", "not measured", NO_RUN, "not reported")  # how a reason may begin
NOT_FOR_TRUTH = "compares with the ground truth"


def table_html(table: Table, kind: str) -> str:
    """`kind` becomes the figure's class. A block of rows for each subject."""
    reasons: list[str] = []
    seeds = any(line.seeds for line in table.lines)
    width = len(table.columns) + 1 + seeds
    blocks = []
    for subject in table.subjects:
        head = f'<tr class="who"><th colspan="{width}">{escape(subject)}</th></tr>'
        rows = "".join(_row(table, label, subject, seeds, reasons) for label in table.labels)
        blocks.append(f"<tbody>{head}{rows}</tbody>")
    notes = [f'<li class="why"><sup>{place}</sup> {escape(why)}</li>' for place, why in enumerate(reasons, start=1)]
    notes += [f"<li>{escape(note)}</li>" for note in table.notes]
    return (
        f'<figure class="{kind}"><figcaption>{escape(table.title)}</figcaption>'
        f'<div class="wide"><table class="results">{_head(table.columns, seeds)}{"".join(blocks)}</table></div>'
        f'<ul class="notes">{"".join(notes)}</ul></figure>'
    )


def _head(columns: tuple[Column, ...], seeds: bool) -> str:
    found = headings(columns)
    blank = "<th></th>" * (1 + seeds)
    upper = "".join(
        f'<th colspan="{len(h.titles)}" class="{"place" if h.place else ""}"><span>{escape(h.place)}</span></th>'
        for h in found
    )
    titles = [(title, i == 0) for heading in found for i, title in enumerate(heading.titles)]
    arrows = {"high": "↑", "low": "↓", "none": ""}
    lower = "".join(
        f'<th class="n{" first" * first}" title="{escape(column.key)}">{escape(title)}<i>{arrows[column.best]}</i></th>'
        for (title, first), column in zip(titles, columns, strict=True)
    )
    second = f"<tr><th></th>{'<th>seeds</th>' * seeds}{lower}</tr>"
    return (
        f"<thead><tr>{blank}{upper}</tr>{second}</thead>" if any(h.place for h in found) else f"<thead>{second}</thead>"
    )


def _row(table: Table, label: str, subject: str, seeds: bool, reasons: list[str]) -> str:
    line = table.line(label, subject)
    cells = line.cells if line else (Cell(None, why=NO_RUN),) * len(table.columns)
    firsts = {sum(len(h.titles) for h in headings(table.columns)[:i]) for i in range(len(headings(table.columns)))}
    tds = [
        _cell(cell, column, line, reasons, place in firsts)
        for place, (cell, column) in enumerate(zip(cells, table.columns, strict=True))
    ]
    named = f"<td>{_seeds(line)}</td>" if seeds else ""
    return f'<tr class="{"truth" if label == TRUTH else ""}"><th>{escape(label)}</th>{named}{"".join(tds)}</tr>'


def _seeds(line: Line | None) -> str:
    """Which are in the mean; those left out on hover."""
    if line is None:
        return ""
    text = ", ".join(map(str, line.seeds)) if len(line.seeds) <= 4 else f"{len(line.seeds)} runs"
    if not line.left_out:
        return text
    left_out, runs = escape("; ".join(line.left_out)), len(line.seeds) + len(line.left_out)
    return f'{text} <span class="none" title="{left_out}">of {runs} runs</span>'


def _cell(cell: Cell, column: Column, line: Line | None, reasons: list[str], first: bool) -> str:
    kinds = "n" + " first" * first
    if cell.value is None:
        if cell.why not in reasons:
            reasons.append(cell.why)
        mark = f"<sup>{reasons.index(cell.why) + 1}</sup>"
        return f'<td class="{kinds} none" title="{escape(cell.why)}">{_word(cell.why)}{mark}</td>'
    stands_in = line is not None and line.origin == "summary"
    kinds += " best" * cell.best + " standin" * stands_in
    spread = "" if cell.spread is None else f"<small>±{number(cell.spread, column.digits)}</small>"
    mark = f"<sup>{STAND_IN}</sup>" if stands_in else ""
    exact = f"{cell.value:.6g}" + ("" if cell.spread is None else f" ± {cell.spread:.3g}")
    return f'<td class="{kinds}" title="{exact}">{number(cell.value, column.digits)}{mark}{spread}</td>'


def _word(why: str) -> str:
    """One word for a reason."""
    if why == NOT_FOR_TRUTH:
        return "–"
    return next((word for word in WORDS if why.startswith(word)), "skipped")
