"""Videos of what a face is asked to feel: a sentence in eight emotions, and an edit that comes and goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.action_units import is_named
from talkingavatar.config.emotions import EMOTIONS
from talkingavatar.data.prompts.ask import Ask
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.media.end_of_fit import draw, label
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.engine.performing.editing import Edit, OpenedEdit, open_edit
from talkingavatar.engine.performing.performance import (
    SOUND_RATE,
    OpenedRequest,
    Performance,
    Request,
    prepare,
    unheard_sound,
)
from talkingavatar.geometry.cameras import close_up, orbit
from talkingavatar.runtime.progress import ProgressBar

SECONDS = 3.0  # of the sentence
PANEL = 224  # pixels of a face, each way
ROOM = 1.7  # of what its landmarks span, that a panel shows
IN_A_ROW = 4
SLID = "happy"  # the edit that comes and goes
STEPS = 24  # on its way up, and on its way down
ASIDE = (-35.0, 0.0, 35.0)  # degrees of the three views


def feels(trained: FittedRun) -> bool:
    """Whether emotions mean something of a run: its capture labels them, its rig's actions have names."""
    return trained.data.tables.get("emotion") is not None and is_named(trained.body.expression_names)


@torch.no_grad()
def write_feelings(trained: FittedRun, check: Callable[[], None]) -> list[Path]:
    """`emotions.mp4` and `edit.mp4`. `check` may raise to stop."""
    config = trained.data.config
    # As it is said when nothing is felt: what is felt is asked for.
    sound = unheard_sound(trained.data, replace(config.data, emotions="none"), SECONDS)
    edits = [open_edit(Edit(emotion)) for emotion in (*EMOTIONS, SLID)]
    assert edits[-1] is not None, "it asks for something"
    edits[-1] = coming_and_going(edits[-1], len(sound) / SOUND_RATE)
    *asked, slid = [_performed(trained, sound, edit) for edit in edits]
    frames = min(len(slid), config.budget.media_frames or len(slid))
    with ProgressBar("emotions", 2 * frames, config.trainer.progress) as bar:

        def tick() -> None:
            check()
            bar.advance()

        return [
            _grid(trained, asked, frames, trained.run.media / "emotions.mp4", tick),
            _sides(trained, slid, frames, trained.run.media / "edit.mp4", tick),
        ]


def _performed(trained: FittedRun, sound: Float[np.ndarray, " N"], edit: OpenedEdit | None) -> Performance:
    (performance,) = prepare(trained, OpenedRequest(Request(), sound, None, edit))
    return performance


def coming_and_going(edit: OpenedEdit, seconds: float) -> OpenedEdit:
    """An edit in strengths from none to all in the middle, and back."""
    edges = np.linspace(0, seconds, 2 * STEPS + 1)
    return replace(edit, asks=[
        _weakened(ask, 1 - abs(k + 0.5 - STEPS) / STEPS, float(edges[max(k - 1, 0)]), float(edges[k + 1]))
        for ask in edit.asks for k in range(2 * STEPS)
    ])  # fmt: skip


def _weakened(ask: Ask, share: float, start: float, stop: float) -> Ask:
    raised, calmed = ({unit: share * value for unit, value in asked.items()} for asked in (ask.raised, ask.calmed))
    return replace(ask, start=start, stop=stop, raised=raised, calmed=calmed)


def _grid(trained: FittedRun, asked: Sequence[Performance], frames: int, file: Path, tick: Callable[[], None]) -> Path:
    """The performances side by side, with their sound."""
    cameras = close_up(asked[0].cameras, _face(trained, asked[0]), PANEL, ROOM)
    with VideoWriter(file, asked[0].fps, asked[0].sound.astype(np.float32), SOUND_RATE) as video:
        for t in range(frames):
            panels = [
                label(draw(trained.method, performance.signal[t : t + 1], cameras), emotion)
                for emotion, performance in zip(EMOTIONS, asked, strict=True)
            ]
            rows = [np.concatenate(panels[i : i + IN_A_ROW], 1) for i in range(0, len(panels), IN_A_ROW)]
            video.write(np.concatenate(rows))
            tick()
    return file


def _sides(trained: FittedRun, slid: Performance, frames: int, file: Path, tick: Callable[[], None]) -> Path:
    """One performance from three sides, with its sound."""
    face = _face(trained, slid)
    close = close_up(slid.cameras, face, PANEL, ROOM)
    views = [orbit(close, face.mean(0), math.radians(angle)) for angle in ASIDE]
    with VideoWriter(file, slid.fps, slid.sound.astype(np.float32), SOUND_RATE) as video:
        for t in range(frames):
            share = 1 - abs(2 * t / max(1, len(slid) - 1) - 1)
            titles = [f"{SLID} {share:.1f}, {angle:+.0f}°" for angle in ASIDE]
            drawn = [draw(trained.method, slid.signal[t : t + 1], view) for view in views]
            video.write(np.concatenate([label(p, title) for p, title in zip(drawn, titles, strict=True)], 1))
            tick()
    return file


def _face(trained: FittedRun, performance: Performance) -> Float[Tensor, "68 3"]:
    """Landmarks of the first frame, metres in the world."""
    return trained.body.posed_landmarks(performance.signal.pose[:1])[0]
