"""Tables as LaTeX, in the manner of booktabs."""

from __future__ import annotations

from collections.abc import Iterable

from talkingavatar.config.protocol import Column
from talkingavatar.tables.formats import number
from talkingavatar.tables.headings import headings
from talkingavatar.tables.table import NO_RUN, Cell, Table

PREAMBLE = "% \\usepackage{booktabs,graphicx}\n"
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # no wider than the line
ESCAPES = str.maketrans(
    {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
     "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "°": r"$^\circ$", "±": r"$\pm$", "†": r"\dag{}",
     "–": "--", "<": r"$<$", ">": r"$>$", "×": r"$\times$"}
)  # fmt: skip


def to_latex(tables: Iterable[Table]) -> str:
    """One table environment each; a block of rows for each subject, notes beneath."""
    return PREAMBLE + "\n".join(_table(table) for table in tables)


def escaped(text: str) -> str:
    """As LaTeX sets it as it stands."""
    return text.translate(ESCAPES)


def _table(table: Table) -> str:
    reasons: list[str] = []
    width = len(table.columns) + 1
    rows = []
    for subject in table.subjects:
        rows.append(rf"\midrule \multicolumn{{{width}}}{{l}}{{\emph{{{escaped(subject)}}}}} \\")
        rows += [_row(table, label, subject, reasons) for label in table.labels]
    notes = [f"[{place}] {reason}" for place, reason in enumerate(reasons, start=1)] + list(table.notes)
    text = "".join(f"\\par\\raggedright\\scriptsize {escaped(note)}\n" for note in notes)
    return "\n".join(
        [
            r"\begin{table}", r"\centering",
            rf"\caption{{{escaped(table.title)}}}", rf"\label{{tab:{_anchor(table.name)}}}",
            FIT, rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"\toprule",
            *_heads(table.columns), *rows, r"\bottomrule", r"\end{tabular}}", f"{text}\\end{{table}}", "",
        ]
    )  # fmt: skip


def _heads(columns: tuple[Column, ...]) -> list[str]:
    upper, rules, at = [""], [], 2
    found = headings(columns)
    for heading in found:
        span = len(heading.titles)
        upper.append(rf"\multicolumn{{{span}}}{{c}}{{{escaped(heading.place)}}}")
        rules += [rf"\cmidrule(lr){{{at}-{at + span - 1}}}"] if heading.place else []
        at += span
    lower = " & ".join(["", *(escaped(title) for heading in found for title in heading.titles)])
    return [" & ".join(upper) + r" \\", *rules, lower + r" \\"]


def _row(table: Table, label: str, subject: str, reasons: list[str]) -> str:
    line = table.line(label, subject)
    cells = line.cells if line else (Cell(None, why=NO_RUN),) * len(table.columns)
    mark = r"\dag{}" if line and line.origin == "summary" else ""
    shown = [_shown(cell, column, reasons, mark) for cell, column in zip(cells, table.columns, strict=True)]
    return " & ".join([escaped(label), *shown]) + r" \\"


def _shown(cell: Cell, column: Column, reasons: list[str], mark: str) -> str:
    if cell.value is None:
        if cell.why not in reasons:
            reasons.append(cell.why)
        return rf"--$^{{[{reasons.index(cell.why) + 1}]}}$"
    text = number(cell.value, column.digits)
    text = (rf"\textbf{{{text}}}" if cell.best else text) + mark
    return text if cell.spread is None else rf"{text} {{\scriptsize $\pm$ {number(cell.spread, column.digits)}}}"


def _anchor(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
