"""How well a driver's motion goes with held-out speech: figures, a table and a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.audio.loudness import correlation_and_offset
from talkingavatar.body.lips import lips_of, opening_of, still_lips
from talkingavatar.body.models import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.driver import Driver, Heard, Prompt
from talkingavatar.drivers.ridge import RidgeMouth
from talkingavatar.drivers.space import RigParameters
from talkingavatar.losses import lip_distance
from talkingavatar.metrics.motion import jitter
from talkingavatar.types import BodyPose, DrivingSignal

STILL = 1e-6  # radians or coefficients: a standard deviation below which a parameter does not move
REACH = 0.4  # seconds by which an offset is looked for, to both sides


@dataclass
class Measured:
    """Of one clip's held-out frames. `openings` (metres, by source) and `frames` are what the picture shows."""

    metrics: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    openings: dict[str, Float[ndarray, " n"]] = field(default_factory=dict)


@torch.no_grad()
def measure_clip(clip: MotionClip, driver: Driver, body: Body, baseline: bool = True) -> Measured:
    """Foretold motion against tracked and, where it is known, true motion, on the clip's held-out frames.

    Keys end in what is compared with: `opening_r/tracked`, `opening_r/true`. `baseline` adds the closed-form mouth of
    `audio.mouth`, fitted to the same clip's training frames, as `ridge/...`.
    """
    assert isinstance(driver.space, RigParameters), "what is measured is a pose"
    measured, parts = Measured(), driver.space.parts
    heard = Heard(clip.fps, clip.samples, clip.features, clip.shots)
    signal = DrivingSignal(torch.arange(clip.frames), clip.pose)
    foretold = driver.foretell(signal, heard, Prompt(speaker=clip.name).only(driver.takes)).pose
    motions = {"tracked": clip.pose, "predicted": foretold} | ({"true": clip.truth} if clip.truth is not None else {})
    if baseline:
        ridge = RidgeMouth.fitted(heard, clip.pose, clip.train, body, clip.name)
        motions["ridge"] = ridge.foretell(signal, heard).pose
    if clip.truth is None:
        measured.skipped["true"] = f"the true motion of {clip.name} is not known"
    held = clip.test_frames
    measured.openings = {name: opening_of(body, pose[held]) for name, pose in motions.items()}
    moving = parts.read(foretold[held]).std(0) > STILL  # what stays at its mean would look steady
    for name, pose in motions.items():
        prefix = {"predicted": "", "ridge": "ridge/"}.get(name)
        if prefix is not None:
            _compare(prefix, name, motions, measured, clip, parts, body)
        values = (parts.read(pose) / driver.scale)[:, moving].numpy()[:, :, None]
        measured.metrics[f"jitter/{name}"] = jitter(values, clip.test)
    measured.rows = [_row(name, clip, measured) for name in motions]
    measured.metrics = {key: value for key, value in measured.metrics.items() if np.isfinite(value)}
    return measured


def _compare(
    prefix: str,
    name: str,
    motions: dict[str, BodyPose],
    measured: Measured,
    clip: MotionClip,
    parts: PoseParts,
    body: Body,
) -> None:
    """What follows sound against what was tracked and what is true."""
    held, reach = clip.test_frames, round(REACH * clip.fps)
    foretold, lips = parts.read(motions[name][held]), lips_of(body)
    for other in ("tracked", "true"):
        if other not in motions:
            continue
        r, _, offset = correlation_and_offset(measured.openings[name], measured.openings[other], reach)
        apart = np.abs(measured.openings[name] - measured.openings[other]).mean()
        extent = measured.openings[name].std() / max(STILL, measured.openings[other].std())
        parameters = _correlations(foretold.numpy(), parts.read(motions[other][held]).numpy())
        measured.metrics |= {
            f"{prefix}opening_r/{other}": r,
            f"{prefix}opening_offset/{other}": float(offset),
            f"{prefix}opening_mm/{other}": 1e3 * float(apart),
            f"{prefix}opening_extent/{other}": float(extent),
            f"{prefix}params_r/{other}": parameters,
        }
        if len(lips):
            pose = motions[other][held]
            rows = (foretold, parts.read(pose))
            apart = lip_distance(*(still_lips(body, parts, lips, row, pose) for row in rows))
            measured.metrics[f"{prefix}lips_mm/{other}"] = float(apart.mean())


def _correlations(a: Float[ndarray, "T P"], b: Float[ndarray, "T P"]) -> float:
    """Mean of the parameters' correlations; those that do not move in one of both are left out."""
    moving = (a.std(0) > STILL) & (b.std(0) > STILL)
    if not moving.any() or len(a) < 3:
        return float("nan")
    return float(np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a.T[moving], b.T[moving], strict=True)]))


def _row(name: str, clip: MotionClip, measured: Measured) -> dict[str, Any]:
    """A line of the table; what a source cannot be asked for is left empty."""
    what = {"predicted": "from sound", "ridge": "from sound, ridge"}.get(name, name)
    row: dict[str, Any] = {"held-out": f"{clip.name}, {what}"}
    prefix = {"predicted": "", "ridge": "ridge/"}.get(name)
    for column, key, form in (
        ("opening r, tracked", "opening_r/tracked", ".3f"),
        ("true", "opening_r/true", ".3f"),
        ("offset, frames", "opening_offset/tracked", ".0f"),
        ("extent", "opening_extent/tracked", ".2f"),
        ("parameters r", "params_r/tracked", ".3f"),
        ("lips, mm", "lips_mm/tracked", ".2f"),
    ):
        value = None if prefix is None else measured.metrics.get(f"{prefix}{key}")
        row[column] = "" if value is None else format(value, form)
    row["jitter"] = format(measured.metrics[f"jitter/{name}"], ".4f")
    return row


def plot_opening(measured: Measured, clip: MotionClip, file: Path) -> None:
    """Lip opening over the held-out frames, millimetres over seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots()
    held = np.array(clip.test_frames)
    time = np.where(np.diff(held, append=held[-1]) > 1, np.nan, held) / clip.fps  # no line across a gap
    styles = {
        "true": ("0.6", 2.5),
        "tracked": ("tab:blue", 1.2),
        "ridge": ("tab:green", 0.8),
        "predicted": ("tab:red", 1.6),
    }
    for name, (colour, width) in styles.items():
        if name in measured.openings:
            label = {"predicted": "from sound", "ridge": "from sound, ridge"}.get(name, name)
            axes.plot(time, 1e3 * measured.openings[name], color=colour, linewidth=width, label=label)
    axes.set(xlabel="seconds", ylabel="lips apart, mm", title=clip.name)
    axes.legend(loc="upper right", ncols=4, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)
