"""A table of results as HTML: rules as in a printed table, reasons on hover and beneath."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import accumulate, groupby

from talkingavatar.config.protocol import TRUTH, Column
from talkingavatar.tables.claims import Verdict
from talkingavatar.tables.formats import CLAIMS, STAND_IN, claim_cells, claims_title, number
from talkingavatar.tables.headings import full_title, headings
from talkingavatar.tables.table import NO_RUN, Cell, Line, Table

WORDS = ("running", "waiting", "failed", "preempted", "not measured", NO_RUN)  # how a reason may begin
MANY_SEEDS = 4  # beyond, they are counted
CENTRED = 4  # columns up to which a reason stands in their middle
NO_WORD = ("compares with the ground truth", "not reported")  # where a number would make no sense


def table_html(table: Table, kind: str) -> str:
    """`kind` becomes the figure's class. A block of rows for each subject."""
    reasons: list[str] = []
    seeds = any(line.seeds for line in table.lines)
    width = len(table.columns) + 1 + seeds
    blocks: list[str] = []
    for subject in table.subjects:
        head = f'<tr class="who"><th colspan="{width}">{escape(subject)}</th></tr>'
        rows = "".join(_row(table, label, subject, seeds, reasons) for label in table.labels)
        folded = ' class="fold"' if kind == "reported" and blocks else ""
        blocks.append(f"<tbody{folded}>{head}{rows}</tbody>")
    notes = [f'<li class="why"><sup>{place}</sup> {escape(why)}</li>' for place, why in enumerate(reasons, start=1)]
    notes += [f"<li>{escape(note)}</li>" for note in table.notes]
    folds = kind == "reported" and len(table.subjects) > 1
    unfold = '<button type="button" class="unfold">each subject</button>' if folds else ""
    return (
        f'<figure class="{kind}"><figcaption>{escape(table.title)}{unfold}</figcaption>'
        f'<div class="wide"><table class="results">{_head(table.columns, seeds)}{"".join(blocks)}</table></div>'
        f"{_explained(table.columns) if kind == 'measured' else ''}"
        f'<ul class="notes">{"".join(notes)}</ul>{_claims(table.verdicts)}</figure>'
    )


def _explained(columns: tuple[Column, ...]) -> str:
    """What each column says, where that is told."""
    told = [
        f"<dt>{escape(full_title(column))}</dt><dd>{escape(column.about)}</dd>" for column in columns if column.about
    ]
    return f'<dl class="explained">{"".join(told)}</dl>' if told else ""


def _claims(verdicts: Sequence[Verdict]) -> str:
    """The paper's claims, and what is said of each."""
    if not verdicts:
        return ""
    head = "".join(f"<th>{name}</th>" for name in CLAIMS)
    return (
        f'<div class="wide"><table class="claims"><caption>{claims_title(verdicts)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(map(_claim_row, verdicts))}</tbody></table></div>"
    )


def _claim_row(found: Verdict) -> str:
    tds = []
    for name, text in zip(CLAIMS, claim_cells(found), strict=True):
        kind = {"verdict": f' class="verdict {text.replace(" ", "-")}"', "paper": ' class="n"', "here": ' class="n"'}
        tds.append(f"<td{kind.get(name, '')}>{escape(text)}</td>")
    return f"<tr>{''.join(tds)}</tr>"


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
    ends = accumulate(len(heading.titles) for heading in headings(table.columns))
    firsts = {0, *ends}
    tds = []
    for (empty, why), group in groupby(enumerate(cells), key=lambda placed: (placed[1].value is None, placed[1].why)):
        placed = list(group)
        if empty:
            tds.append(_gap(why, len(placed), placed[0][0] in firsts, reasons))
        else:
            tds += [_cell(cell, table.columns[i], line, i in firsts) for i, cell in placed]
    named = f"<td>{_seeds(line)}</td>" if seeds else ""
    return f'<tr class="{"truth" if label == TRUTH else ""}"><th>{escape(label)}</th>{named}{"".join(tds)}</tr>'


def _seeds(line: Line | None) -> str:
    """Which are in the mean; those left out on hover."""
    if line is None or line.origin == "absent":
        return ""
    many = len(line.seeds) > MANY_SEEDS
    text = str(len(line.seeds)) if many else ", ".join(map(str, line.seeds))
    if not line.left_out:
        return f"{text} runs" if many else text
    left_out, runs = escape("; ".join(line.left_out)), len(line.seeds) + len(line.left_out)
    return f'{text} <span class="none" title="{left_out}">{"of" if many else "· of"} {runs} runs</span>'


def _gap(why: str, width: int, first: bool, reasons: list[str]) -> str:
    """Neighbouring cells without a number, for one reason."""
    if why not in reasons:
        reasons.append(why)
    kinds = "none" + (" n" if width == 1 else " span" if width <= CENTRED else " span long") + " first" * first
    mark = f"<sup>{reasons.index(why) + 1}</sup>"
    return f'<td class="{kinds}" colspan="{width}" title="{escape(why)}"><span>{_word(why)}{mark}</span></td>'


def _cell(cell: Cell, column: Column, line: Line | None, first: bool) -> str:
    assert cell.value is not None
    stands_in = line is not None and line.origin == "summary"
    kinds = "n" + " first" * first + " best" * cell.best + " standin" * stands_in
    spread = "" if cell.spread is None else f"<small>±{number(cell.spread, column.digits)}</small>"
    mark = f"<sup>{STAND_IN}</sup>" if stands_in else ""
    exact = f"{cell.value:.6g}" + ("" if cell.spread is None else f" ± {cell.spread:.3g}")
    return f'<td class="{kinds}" title="{exact}">{number(cell.value, column.digits)}{mark}{spread}</td>'


def _word(why: str) -> str:
    """One word for a reason."""
    if why in NO_WORD:
        return "–"
    return next((word for word in WORDS if why.startswith(word)), "skipped")
