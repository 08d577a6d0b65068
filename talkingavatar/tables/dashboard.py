"""What a sweep's dashboard in W&B shows: panels of what its runs have logged. `publish` makes W&B's objects of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from talkingavatar.engine.tracking.names import TABLE, media_key, result_key
from talkingavatar.tables.curves import in_order
from talkingavatar.tables.results import Measured
from talkingavatar.tables.runs import Run
from talkingavatar.tables.table import Table

MEASURES = ("psnr", "ssim", "lpips_alex", "lpips_vgg", "lpips_squeeze")  # of held-out frames, in this order
REGIONS = ("full", "matte", "head", "mouth", "hands", "left_hand", "right_hand")
LIPS = ("sync", "mouth_sync", "lmd", "au")  # how the columns of lips and sound begin
MEDIA = (".mp4", ".png")
SECTIONS = ("Held out", "As evaluated", "Lips and sound", "Training", "Pictures and videos", "Runs", "More")


@dataclass(frozen=True)
class Panel:
    """One picture of the dashboard."""

    kind: str  # lines (over steps) | bars (one an experiment) | media | table | differences
    title: str
    keys: tuple[str, ...] = ()  # as they are called in W&B


@dataclass(frozen=True)
class Section:
    """Panels under one heading; `open` ones are unfolded."""

    title: str
    panels: tuple[Panel, ...]
    open: bool = True


@dataclass(frozen=True)
class Dashboard:
    """Of the runs of a sweep."""

    name: str
    groups: tuple[str, ...]  # W&B groups that hold exactly these runs; without any, `ids` are chosen
    ids: tuple[str, ...]  # of the runs in W&B
    sections: tuple[Section, ...]
    columns: tuple[str, ...]  # of the run table: config keys first, then numbers
    facts: tuple[str, ...]  # lines above
    tables: tuple[str, ...]  # Markdown

    @property
    def config_columns(self) -> tuple[str, ...]:
        return tuple(key for key in self.columns if "/" not in key)

    @property
    def number_columns(self) -> tuple[str, ...]:
        return tuple(key for key in self.columns if "/" in key)


def dashboard(
    name: str,
    found: Sequence[tuple[Run, Measured]],
    curves: Iterable[str],
    tables: Sequence[tuple[Table, str]],
    facts: Sequence[str],
) -> Dashboard:
    """Panels for what at least one of the runs has.

    Args:
        curves: names of what was logged by step.
        tables: each table, and its Markdown.
        facts: lines above.
    """
    runs = [run for run, _ in found]
    summary = {key for run in runs for key in _numbers(run)}
    measured = _measured(found, [table for table, _ in tables])
    sections = _sections(in_order(set(curves)), summary, measured, _media(runs))
    best = [key for key in (*measured, *_held_out(summary)) if key.split("/")[-1] in (*MEASURES[:3], "md", "conf")]
    groups = tuple(dict.fromkeys(run.config.get("tracking.group", "") for run in runs))
    ids = tuple(text for run in runs if (text := _id(run)))
    return Dashboard(
        name=name,
        groups=groups if all(groups) else (),
        ids=ids,
        sections=sections,
        columns=("experiment", "data.identity", "seed", *best[:6]),
        facts=tuple(facts),
        tables=tuple(text for _, text in tables),
    )


def _sections(
    curves: Sequence[str], summary: set[str], measured: Sequence[str], media: Sequence[str]
) -> tuple[Section, ...]:
    held = _held_out(summary)
    lips = [key for key in measured if key.split("/")[2] in LIPS]
    more = sorted(key for key in summary if key not in held)
    panels = {
        "Held out": _bars(held),
        "As evaluated": _bars([key for key in measured if key not in lips]),
        "Lips and sound": _bars(lips),
        "Training": [Panel("lines", key, (key,)) for key in curves],
        "Pictures and videos": [Panel("media", key.removeprefix("media/").replace("_", " "), (key,)) for key in media],
        "Runs": [Panel("table", "last table of each run", (TABLE,)), Panel("differences", "configurations compared")],
        "More": _bars(more),
    }
    return tuple(Section(title, tuple(panels[title]), title != "More") for title in SECTIONS if panels[title])


def _bars(keys: Iterable[str]) -> list[Panel]:
    return [Panel("bars", key, (key,)) for key in keys]


def _held_out(summary: set[str]) -> list[str]:
    """The fit's own held-out numbers, measure by measure, the whole frame first."""
    keys = [key for key in summary if key.startswith("heldout/") and key.split("/")[-1] in MEASURES]

    def order(key: str) -> tuple[int, int, str]:
        region, measure = key.split("/")[-2:]
        return MEASURES.index(measure), REGIONS.index(region) if region in REGIONS else len(REGIONS), key

    return sorted(keys, key=order)


def _measured(found: Sequence[tuple[Run, Measured]], tables: Sequence[Table]) -> list[str]:
    """Numbers of `evaluate` that stand in the tables, in their order, under every condition they were measured in."""
    conditions = list(dict.fromkeys(condition for _, measured in found for condition in measured))
    had = {result_key(c, key) for _, measured in found for c, result in measured.items() for key in result["metrics"]}
    columns = dict.fromkeys(column.key for table in tables for column in table.columns)
    keys = (result_key(condition, key) for key in columns for condition in conditions)
    return [key for key in keys if key in had]


def _media(runs: Sequence[Run]) -> list[str]:
    """What the runs' ends show; moving pictures first."""
    files = {file.name: file for run in runs for file in (run.path / "media").glob("*") if file.suffix in MEDIA}
    ordered = sorted(files.values(), key=lambda file: (MEDIA.index(file.suffix), file.name))
    return list(dict.fromkeys(media_key(file) for file in ordered))


def _numbers(run: Run) -> Mapping[str, float]:
    metrics = run.summary.get("metrics")
    return metrics if isinstance(metrics, Mapping) else {}


def _id(run: Run) -> str:
    """Its name in W&B, empty for a run that was never tracked."""
    file = Path(run.path / "wandb_id")
    return file.read_text().strip() if file.is_file() else ""
