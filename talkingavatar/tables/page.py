"""One self-contained HTML page: tables, runs, curves, videos and pictures. It opens from a file, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from talkingavatar.tables.cells import table_html
from talkingavatar.tables.curves import Curve, in_order
from talkingavatar.tables.media import Medium
from talkingavatar.tables.runs import STATES, Run, config_diff, counts, duration
from talkingavatar.tables.table import Table

ASSETS = Path(__file__).parent / "assets"
TITLES = {
    "tables": "Tables",
    "runs": "Runs",
    "curves": "Training",
    "sync": "Lips and sound",
    "videos": "Videos",
    "pictures": "Pictures",
}


@dataclass(frozen=True)
class Shown:
    """A run with its curves: `training` by name, `sync` by condition and kind."""

    run: Run
    training: Mapping[str, Curve]
    sync: Mapping[str, Mapping[str, Curve]]


@dataclass(frozen=True)
class Content:
    """All that stands on the page. `tables` are pairs of what was measured and what a paper reports."""

    title: str
    tables: Sequence[tuple[Table, Table | None]]
    shown: Sequence[Shown]
    truth: Mapping[str, Mapping[str, Curve]]  # sync curves of the ground truth, by subject and kind
    media: Sequence[Medium]
    files: Sequence[str]  # that lie beside the page


def to_html(content: Content, made: datetime) -> str:
    """The whole page."""
    runs = [shown.run for shown in content.shown]
    blobs = [medium.content for medium in content.media]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(content.title)}</title><style>{_asset('page.css')}</style></head><body>",
        _header(content, runs, made),
        "<main>",
        _section("tables", "".join(_pair(*pair) for pair in content.tables) or "<p>No table.</p>"),
        _section("runs", _filters(runs) + _runs(runs)),
        _section("curves", '<div class="legend"></div><div class="charts"></div>'),
        _section("sync", '<div class="charts"></div>'),
        _section("videos", '<div class="bar"></div><div class="grid"></div>'),
        _section("pictures", '<div class="bar"></div><div class="grid"></div>'),
        "</main>",
        f'<script type="application/json" id="data">{_json(_data(content))}</script>',
        *(f'<script type="text/plain" id="blob-{i}">{blob}</script>' for i, blob in enumerate(blobs) if blob),
        "".join(f"<script>{_asset(name)}</script>" for name in ("charts.js", "videos.js", "page.js")),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _asset(name: str) -> str:
    return (ASSETS / name).read_text()


def _json(tree: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(tree, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _section(name: str, body: str) -> str:
    return f'<section id="{name}"><h2>{TITLES[name]}</h2>{body}</section>'


def _header(content: Content, runs: Sequence[Run], made: datetime) -> str:
    facts = [f"{len(runs)} run{'s' * (len(runs) != 1)}: {counts(runs)}"]
    facts += [f"{word} {', '.join(values)}" for word, values in _shared(runs)]
    facts.append(f"written {made:%Y-%m-%d %H:%M}")
    files = ", ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in content.files)
    nav = "".join(f'<a href="#{name}">{TITLES[name]}</a>' for name in TITLES)
    return (
        f"<header><h1>{escape(content.title)}</h1><p>{escape(' · '.join(facts))}</p>"
        f"<p>The tables as text: {files}</p><nav>{nav}</nav></header>"
    )


def _shared(runs: Sequence[Run]) -> Iterable[tuple[str, list[str]]]:
    """Commits and devices, where there are few enough to read."""
    for word, values in (("commit", [run.commit for run in runs]), ("device", [run.device for run in runs])):
        distinct = list(dict.fromkeys(values))
        yield (word, distinct) if len(distinct) <= 3 else (f"{word}s", [f"{len(distinct)} different"])


def _pair(measured: Table, reported: Table | None) -> str:
    """What was measured, and beside it what the paper reports."""
    beside = table_html(reported, "reported") if reported else ""
    return f'<div class="pair">{table_html(measured, "measured")}{beside}</div>'


def _filters(runs: Sequence[Run]) -> str:
    """One choice a property of a run, and how many are left."""
    choices = {
        "experiment": sorted({run.experiment for run in runs}),
        "subject": sorted({run.subject for run in runs}),
        "seed": [str(seed) for seed in sorted({run.seed for run in runs})],
        "status": [state for state in STATES if any(run.state == state for run in runs)],
    }
    selects = []
    for name, values in choices.items():
        options = "".join(f'<option value="{escape(value)}">{escape(value)}</option>' for value in values)
        selects.append(
            f'<label>{name} <select data-filter="{name}"><option value="">all</option>{options}</select></label>'
        )
    return (
        f'<div class="filters">{"".join(selects)}<span id="left"></span>'
        "<span class=hint>ticked runs are shown in videos and pictures; the tables stand over all runs</span></div>"
    )  # fmt: skip


def _runs(runs: Sequence[Run]) -> str:
    heads = ("", "run", "experiment", "subject", "seed", "status", "wall time", "commit", "device", "")
    numbers = ("seed", "wall time")
    head = "".join(f'<th class="{"n" if name in numbers else ""}">{name}</th>' for name in heads[:-1])
    head += '<th class="against">differs from </th>'
    rows = "".join(_run_row(place, run) for place, run in enumerate(runs))
    return f'<div class="wide"><table class="runs"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _run_row(place: int, run: Run) -> str:
    wall = "–" if run.wall_s is None else duration(run.wall_s)
    problems = escape("; ".join(run.problems))
    problem = f'<span class="problem" title="{problems}">{problems}</span>' if problems else ""
    status = f'<span class="state {run.state}">{run.state}</span> <span class="detail">{escape(run.detail)}</span>'
    cells = (
        ("", f'<input type="checkbox" aria-label="show {escape(run.name)}">'),
        ("name", escape(run.name)), ("", escape(run.experiment)), ("", escape(run.subject)), ("n", str(run.seed)),
        ("status", status + problem), ("n", wall),
        ("mono", escape(run.commit)), ("", escape(run.device)), ("diff", ""),
    )  # fmt: skip
    tds = "".join(f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>" for kind, text in cells)
    return f'<tr data-run="{place}">{tds}</tr>'


def _start(run: Run) -> str:
    """Where it lies and how it was started."""
    times = f"started {run.starts} time{'s' * (run.starts != 1)}"
    return f"{run.path}\n{run.provenance.get('command', 'unknown command')}\n{times}"


def _data(content: Content) -> dict[str, Any]:
    """What the page draws by itself."""
    keys = in_order({key for shown in content.shown for key in shown.training})
    return {
        "keys": keys,
        "truth": content.truth,
        "runs": [_run_data(shown, content.shown[0].run) for shown in content.shown],
        "media": [{"run": m.run, "title": m.title, "video": m.video, "href": m.href} for m in content.media],
    }


def _run_data(shown: Shown, first: Run) -> dict[str, Any]:
    run = shown.run
    facts = {"name": run.name, "experiment": run.experiment, "subject": run.subject, "seed": str(run.seed)}
    drawn = {"curves": shown.training, "sync": shown.sync}
    return facts | drawn | {"status": run.state, "start": _start(run), "diff": config_diff(first, run)}
