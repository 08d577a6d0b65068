"""How well a driver's motion goes with held-out speech: figures, a table and a picture of the end of its fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.models import Body
from talkingavatar.config.protocol import RIDGE, Condition
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.driver import Driver
from talkingavatar.engine.measuring.fit_results import MeasuredCondition, Results
from talkingavatar.engine.measuring.foretold import foretold_of_clip
from talkingavatar.engine.measuring.held_out import motion_held_out
from talkingavatar.engine.measuring.measure import Findings, Networks, Options, Setting
from talkingavatar.engine.measuring.measures.driver_motion import DriverMotion
from talkingavatar.engine.measuring.scoring import score_motion
from talkingavatar.runtime.files import whole

SPOKEN = {"spoken": Condition(spoken=True)}
CONDITIONS = {**SPOKEN, "ridge": Condition(spoken=True, driver=RIDGE)}
SOURCES = {"tracked": "tracked", "spoken": "from sound", "true": "true", "ridge": "from sound, ridge"}
COLUMNS = (
    ("opening r, tracked", "opening_r/tracked", ".3f"),
    ("true", "opening_r/true", ".3f"),
    ("offset, frames", "opening_offset/tracked", ".0f"),
    ("extent", "opening_extent/tracked", ".2f"),
    ("parameters r", "params_r/tracked", ".3f"),
    ("lips, mm", "lips_mm/tracked", ".2f"),
)
SHARED = ("true", "jitter/tracked", "jitter/true")  # the same under every condition


@dataclass(frozen=True)
class MeasuredClip:
    """Of one clip's held-out frames, by condition."""

    clip: MotionClip
    found: Mapping[str, Findings]

    def results(self, prefix: str, own: bool) -> Results:
        """For the summary, under keys that begin with `prefix`, as `driver/opening_r/true`, `driver/ridge/...`.

        `own`: of the run's own speaker, whose figures stand in for those of `evaluate`.
        """
        results = Results()
        for condition, findings in self.found.items():
            results.metrics |= {_key(key, prefix, condition): value for key, value in findings.metrics.items()}
            results.skipped |= {_key(key, prefix, condition): why for key, why in findings.missed.items()}
            if own:
                frames = self.clip.test_frames
                results.conditions.append(MeasuredCondition(condition, frames, findings.metrics, findings.missed))
        return results

    def rows(self) -> list[dict[str, Any]]:
        """Lines of the table; what a source cannot be asked for is left empty."""
        rows = []
        for source, what in SOURCES.items():
            findings = self.found.get(source, self.found["spoken"])
            jitter = findings.metrics.get(f"driver/jitter/{'predicted' if source in self.found else source}")
            if source == "true" and self.clip.truth is None:
                continue
            row: dict[str, Any] = {"held-out": f"{self.clip.name}, {what}"}
            for column, key, form in COLUMNS:
                value = findings.metrics.get(f"driver/{key}") if source in self.found else None
                row[column] = "" if value is None else format(value, form)
            rows.append(row | {"jitter": "" if jitter is None else format(jitter, ".4f")})
        return rows

    def openings(self) -> dict[str, Float[ndarray, " T"]]:
        """How far the lips stand apart, metres, by source."""
        tables = self.found["spoken"].tables
        found = {name: tables[f"opening_{name}"] for name in ("tracked", "true") if f"opening_{name}" in tables}
        return found | {condition: f.tables["opening_predicted"] for condition, f in self.found.items()}


def _key(key: str, prefix: str, condition: str) -> str:
    what = key.removeprefix("driver/")
    if condition == "ridge" and what not in SHARED:
        what = "jitter/ridge" if what == "jitter/predicted" else f"ridge/{what}"
    return f"{prefix}/{what}"


def measure_clip(
    clip: MotionClip, driver: Driver, body: Body, conditions: Mapping[str, Condition] = CONDITIONS
) -> MeasuredClip:
    """Foretold motion against tracked and, where it is known, true motion, on the clip's held-out frames.

    Beside the driver's, by default, that of the closed-form mouth, fitted to the clip's training frames.
    """
    held, found = motion_held_out(clip, body, clip.test_frames), {}
    for name, condition in conditions.items():
        foretold = foretold_of_clip(clip, driver, body, held.frames, condition)
        setting = Setting(held, Networks(), Options(), {}, condition, foretold=foretold)
        found[name] = score_motion(setting, [DriverMotion])
    return MeasuredClip(clip, found)


def plot_opening(measured: MeasuredClip, file: Path) -> None:
    """Lip opening over the held-out frames, millimetres over seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots()
    clip, openings = measured.clip, measured.openings()
    held = np.array(clip.test_frames)
    time = np.where(np.diff(held, append=held[-1]) > 1, np.nan, held) / clip.fps  # no line across a gap
    styles = {
        "true": ("0.6", 2.5),
        "tracked": ("tab:blue", 1.2),
        "ridge": ("tab:green", 0.8),
        "spoken": ("tab:red", 1.6),
    }
    for name, (colour, width) in styles.items():
        if name in openings:
            axes.plot(time, 1e3 * openings[name], color=colour, linewidth=width, label=SOURCES[name])
    axes.set(xlabel="seconds", ylabel="lips apart, mm", title=clip.name)
    axes.legend(loc="upper right", ncols=4, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as temporary:
        figure.savefig(temporary, dpi=100)
