"""How soon after a sound the mouth moves: a driver that hears speech in chunks, against the whole file at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.features import BANDS, RATE
from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.body.models import Body, load_body
from talkingavatar.config.compose import compose
from talkingavatar.config.family_options import Audio2Param as Options
from talkingavatar.drivers.audio2param.driver import Audio2ParamDriver
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.driver import Driver, Prompt
from talkingavatar.drivers.rig_options import read, shape_of
from talkingavatar.drivers.space import RigParameters
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.engine.driver import required
from talkingavatar.engine.fitted import FittedRun, load_run
from talkingavatar.errors import UserError
from talkingavatar.networks.audio2param import Audio2Param, Shape
from talkingavatar.types import DrivingSignal

HEADER = ("chunk, ms", "frames", "ms a chunk", "99 of 100", "look-ahead, ms", "delay, ms", "times real time", "apart")


@torch.no_grad()
def bench_stream(run: Path | None, chunks: list[float], seconds: float) -> list[dict[str, Any]]:
    """Print one line per case; returns them.

    The delay is what passes between a sound and its frame: the look-ahead, a whole chunk, and the work on it. "apart"
    is the largest difference from the frames of the whole file, in standard deviations of the parameters.

    Args:
        run: of a driver, drawn as well where the run has its avatar; None: an untrained one, which is as fast.
        chunks: milliseconds of sound that come at once; 0 is the whole file.

    Raises:
        UserError: the run has no driver, or one whose features cannot be made as sound comes.
    """
    trained = load_run(run) if run is not None else None
    torch.set_num_threads(1)
    driver = (
        _untrained(load_body("open_flame"))
        if trained is None
        else required(trained.driver, trained.data.config.experiment)
    )
    sound = load_speech(voices()[0]).excerpt(0.0, seconds).samples
    draw = None if trained is None else _drawing(trained, driver)
    drawn = ", and the drawing" if draw else ""
    print(f"{len(sound) / RATE:g} s of speech, {driver.card.fps:g} frames a second, one thread{drawn}")
    print("".join(f"{name:>16}" for name in HEADER), flush=True)
    whole, rows = None, []
    for chunk in [0.0, *chunks]:
        row, parameters = _case(driver, sound, chunk, draw)
        whole = parameters if whole is None else whole
        row["apart"] = float(((parameters - whole) / driver.scale).abs().max())
        rows.append(row)
        print("".join(f"{value:>16.4g}" for value in row.values()), flush=True)
    return rows


def _case(
    driver: Driver, sound: Float[ndarray, " N"], chunk: float, draw: Callable[[Tensor, int], None] | None
) -> tuple[dict[str, Any], Float[Tensor, "T P"]]:
    stream, spent = driver.stream(Prompt()), []
    if stream is None:
        found = f"{driver.card.driver}, which hears the whole sound before it speaks"
        raise UserError("run", found, "a driver with a live form", "give another run")
    frames: list[Float[Tensor, " P"]] = []
    step = round(chunk / 1e3 * RATE) or len(sound)
    for first in range(0, len(sound), step):
        began = time.perf_counter()
        come = stream.push(sound[first : first + step])
        if first + step >= len(sound):
            come = torch.cat([come, stream.finish()])
        for frame in come:
            if draw is not None:
                draw(frame[None], len(frames))
            frames.append(frame)
        spent.append(1e3 * (time.perf_counter() - began))
    parameters = torch.stack(frames)
    steady = spent[len(spent) // 10 :]  # the first chunks warm up
    row = {
        "chunk, ms": 1e3 * step / RATE,
        "frames": float(len(parameters)),
        "ms a chunk": float(np.median(steady)),
        "99 of 100": float(np.percentile(steady, 99)),
        "look-ahead, ms": 1e3 * driver.lookahead,
        "delay, ms": 1e3 * (driver.lookahead + step / RATE) + float(np.median(steady)),
        "times real time": len(sound) / RATE / (sum(spent) / 1e3),
    }
    return row, parameters


def _drawing(trained: FittedRun, driver: Driver) -> Callable[[Tensor, int], None]:
    """Draws the avatar with foretold parts, the rest of it as in one held-out frame."""
    data, method = trained.data, trained.method
    frame = data.capture.test_frames[0]
    still, cameras = data.signal([frame]).pose, data.capture.cameras([frame]).to(method.device)

    def draw(parameters: Float[Tensor, "1 P"], number: int) -> None:
        signal = DrivingSignal(torch.tensor([-1]), still, data.windows[[number % len(data.windows)]])
        signal = driver.space.write(signal, parameters)
        method.render(method.drive(signal.to(method.device)), cameras).rgb.cpu()

    draw(torch.zeros(1, len(driver.space.names)), 0)  # compiles and fills caches
    return draw


def _untrained(body: Body) -> Driver:
    """A driver of the default's size with random weights."""
    config = compose(["experiment=audio2param"])
    options = read(Options(), config)
    space = RigParameters(body, options.targets)
    torch.manual_seed(0)
    shape = shape_of(Shape, options, BANDS, len(space.names), 1)
    network = Audio2Param(shape)
    torch.nn.init.normal_(network.out.weight, std=0.1)
    card = DriverCard(
        "audio2param", asdict(shape), options.targets, space.names, ["nobody"], "logmel", "logits",
        float(config.data.fps), body.name, body.checksum,
    )  # fmt: skip
    return Audio2ParamDriver(network.requires_grad_(False), Standardise(len(space.names)), space, card)
