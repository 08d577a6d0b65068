"""Where the time of a driven frame goes: new speech to a video, by part, by the method itself and from baked arrays."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.engine.fitted import FittedRun, load_run
from talkingavatar.engine.measuring.clock import REST, Clock, table
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.engine.performing.fast import Fast
from talkingavatar.engine.performing.perform import Painter, film
from talkingavatar.engine.performing.performance import (
    SOUND_RATE,
    OpenedRequest,
    Performance,
    Request,
    open_request,
    prepare,
)
from talkingavatar.errors import UserError

WARM = 3  # frames before those that count
ALONE = "one by one"  # the whole, were nothing done beside something else
PARTS = ("audio", "drive", "rasterise", "encode", REST)
COEFFICIENTS, GAUSSIANS = "coefficients", "Gaussians"  # of "drive", where it is fast
FAST = ("audio", COEFFICIENTS, GAUSSIANS, "rasterise", "encode", REST)


def bench_drive(run: Path, frames: int) -> list[dict[str, Any]]:
    """Drive the avatar of a run with speech it never heard.

    Returns:
        A row a part, and one of their sum, where nothing is done beside something else; the whole last, as films are
        made, frames side by side: milliseconds a frame, shares of that sum, the whole's `Gaussians` and `frames/s`.
        Where the avatar can be baked, the same of `fast=true` first, by names that begin with it, measured in turn.

    Raises:
        UserError: the run has no avatar, or none with a checkpoint yet.
    """
    trained = load_run(run)
    fps = trained.data.capture.manifest.fps
    speech = load_speech(voices()[1]).excerpt(0.0, frames / fps)
    try:
        fast = Fast(trained)
    except UserError:
        fast = None
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "speech.wav"
        soundfile.write(sound, speech.samples, speech.rate)
        opened = open_request(Request(audio=sound))
        (performance,) = prepare(trained, opened)  # also makes what the run keeps: the mouth model
        rows = [] if fast is None else _rows(trained, opened, performance, fast, Path(folder))
        whole = _rows(trained, opened, performance, None, Path(folder))
    if fast is not None:
        whole[-1] |= _ratios(rows, whole)
    return [{**row, "part": f"fast: {row['part']}"} for row in rows] + whole


def _rows(
    trained: FittedRun, opened: OpenedRequest, performance: Performance, fast: Fast | None, folder: Path
) -> list[dict[str, Any]]:
    """Of one way, once warm."""
    method, clock = trained.method, Clock()
    film(trained, replace(performance, signal=performance.signal[:WARM]), folder / "warm.mp4", fast=fast)
    clock.time(method, "drive", "drive")
    if fast is not None:
        clock.time(fast, "moments", COEFFICIENTS)
        clock.time(fast, "pose", GAUSSIANS)
    try:
        clock.reset()
        with clock.part("audio"):
            (performance,) = prepare(trained, opened)
        _one_by_one(trained, performance, folder / "speech.mp4", fast, clock)
        clock.switch(REST)
    finally:
        clock.release()
    rows = table(clock.seconds, PARTS if fast is None else FAST, len(performance), "frame")
    began = time.perf_counter()
    film(trained, performance, folder / "speech.mp4", fast=fast)
    spent = time.perf_counter() - began + clock.seconds["audio"]
    count, alone = len(method.gaussians["means"]), {**rows[-1], "part": ALONE}
    whole = {"ms a frame": 1e3 * spent / len(performance), "share": spent / sum(clock.seconds.values())}
    whole |= {"Gaussians": count, "frames/s": len(performance) / spent}
    return [*rows[:-1], alone, {"part": "all", **whole}]


@torch.no_grad()
def _one_by_one(trained: FittedRun, performance: Performance, file: Path, fast: Fast | None, clock: Clock) -> None:
    """A film whose parts do not overlap."""
    painter, signals = Painter(trained, performance.cameras, None), performance.signal.to(trained.method.device)
    driven = (trained.method.drive(signals[t : t + 1]) for t in range(len(signals)))
    with VideoWriter(file, performance.fps, performance.sound.astype(np.float32), SOUND_RATE) as video:
        for gaussians in driven if fast is None else fast.frames(performance.signal):
            with clock.part("rasterise"):
                picture = painter(gaussians)
            with clock.part("encode"):
                video.write(picture)


def _ratios(fast: list[dict[str, Any]], whole: list[dict[str, Any]]) -> dict[str, float]:
    """How many times as fast it is: from what is heard to Gaussians, and to the video once the sound is prepared."""
    spent = [{row["part"]: row["ms a frame"] for row in rows} for rows in (fast, whole)]
    gaussians = spent[0][COEFFICIENTS] + spent[0][GAUSSIANS]
    videos = [of["all"] - of["audio"] for of in spent]
    return {"times, to Gaussians": spent[1]["drive"] / gaussians, "times, to a video": videos[1] / videos[0]}
