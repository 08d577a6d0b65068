"""Pictures of how well lips and sound agree: distance against shift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from talkingavatar.runtime.files import whole

CURVES = {
    "sync": ("SyncNet: distance of lips and sound", "mean distance (lower is closer)"),
    "mouth_sync": ("weight-free: mouth foretold by the sound", "correlation (higher is closer)"),
}


def sync_curves(results: list[dict[str, Any]], folder: Path) -> list[Path]:
    """One picture a subject: a line for the ground truth and for each run and condition; none without any curve."""
    import matplotlib

    matplotlib.use("agg")
    files = []
    for subject in sorted({result["subject"] for result in results}):
        rows = [result for result in results if result["subject"] == subject]
        kinds = [kind for kind in CURVES if any(kind in result["curves"] for result in rows)]
        if kinds:
            file = folder / f"sync_{subject}.png"
            _draw(subject, rows, kinds, file)
            files.append(file)
    return files


def _draw(subject: str, rows: list[dict[str, Any]], kinds: list[str], file: Path) -> None:
    """The kinds side by side under one legend: a colour for each line, the ground truth black."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7 * len(kinds), 5.5), layout="constrained")
    for axes, kind in zip(np.atleast_1d(figure.subplots(1, len(kinds))), kinds, strict=True):
        of_truth = [row["truth"]["curves"].get(kind) for row in rows if "truth" in row]
        curves = {"ground truth": next(iter(of_truth), None)}
        curves |= {_name(row, rows): row["curves"].get(kind) for row in rows}
        for i, (name, curve) in enumerate(curves.items()):
            style = {"color": "black", "linewidth": 2.5} if i == 0 else {"color": f"C{i - 1}"}
            axes.plot(*(curve or ([], [])), label=name, **style)
        axes.axvline(0, color="grey", linewidth=0.5)
        title, y = CURVES[kind]
        axes.set(title=f"{subject}: {title}", xlabel="frames by which the sound leads", ylabel=y)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(rows) + 1))
    with whole(file) as temporary:
        figure.savefig(temporary, dpi=110)


def _name(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """As short as tells the lines apart."""
    condition = "" if row["condition"] == "full" else f", {row['condition']}"
    seed = f", seed {row['seed']}" if len({other["seed"] for other in rows}) > 1 else ""
    return f"{row['experiment']}{condition}{seed}"
