"""Where the time of a training step goes: some steps of a real fit, by part."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
from jaxtyping import Float
from torch import Tensor

from talkingavatar.config.compose import compose
from talkingavatar.config.schema import FitConfig
from talkingavatar.config.stages import of_kind
from talkingavatar.engine.experiment import check
from talkingavatar.engine.loop.callbacks import Journal, Place
from talkingavatar.engine.loop.machine import make_trainer, prepare_torch
from talkingavatar.engine.measuring.clock import REST, Clock, table
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.stages.avatar import AvatarFit
from talkingavatar.engine.stages.registry import build_stage
from talkingavatar.engine.tracking.tracker import Tracker
from talkingavatar.errors import UserError
from talkingavatar.methods.base import Method
from talkingavatar.types import Cameras, Gaussians, Rendering

RASTER_BACK, OTHER_BACK = "backward, rasteriser", "backward, rest"
PARTS = ("data", "drive", "rasterise", "losses", RASTER_BACK, OTHER_BACK, "optimiser", "density", "logging", REST)
SHOWN = ("rgb", "alpha", "depth", "median_depth", "normals", "depth_normals")


def bench_fit(overrides: Sequence[str], first: int, steps: int) -> list[dict[str, Any]]:
    """Fit from the start, and measure `steps` steps after the first `first` ones.

    Returns:
        A row a part, the whole last: milliseconds a step, share; the whole's with `Gaussians` and `steps/s`.

    Raises:
        UserError: a mistake in the overrides, a fit of no avatar, or one that ends before it is measured.
    """
    config = compose(overrides)
    if first + steps > config.budget.steps:
        expected = f"at most {config.budget.steps}, the steps of the fit"
        raise UserError("first, steps", f"{first} + {steps} steps", expected, "give fewer, or budget.steps=...")
    check(config)
    if not (names := of_kind(config, "avatar")):
        raise UserError("experiment", f"{config.experiment}, which fits no avatar", "an avatar's", "choose another")
    with tempfile.TemporaryDirectory() as folder:
        config = replace(
            config,
            run=replace(config.run, path=folder, fresh=False),
            tracking=replace(config.tracking, name="none"),
            trainer=replace(config.trainer, devices=1, nodes=1),
        )
        prepare_torch(config)
        fitted = build_stage(names[0], config, {})
        assert isinstance(fitted, AvatarFit)
        return _measured(config, RunDirectory(Path(folder)), fitted, first, steps)


def _measured(config: FitConfig, run: RunDirectory, fitted: AvatarFit, first: int, steps: int) -> list[dict[str, Any]]:
    clock = Clock()
    instrument(clock, fitted.method)
    journal = Journal(run, Tracker(config, run), fitted, config.trainer, Place(fitted.name, 0, first + steps))
    clock.time(journal, "on_train_batch_end", "logging", whole=True)
    watch = _Watch(clock, first)
    load = fitted.data.train_dataloader()
    clock.time(load, "load", "data")
    trainer = make_trainer(config, run.path, first + steps, [watch, journal])
    trainer.fit(fitted.method, train_dataloaders=load)
    rows = table(clock.seconds, PARTS, steps, "step")
    rows[-1] |= {"Gaussians": int(fitted.method.scalars.known["gaussians"]), "steps/s": steps / watch.seconds}
    return rows


class _Watch(L.Callback):
    """First among the callbacks: starts the count after the warm steps, tells backward and density from the rest."""

    def __init__(self, clock: Clock, first: int) -> None:
        self.clock, self.first = clock, first

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        (optimiser,) = trainer.optimizers
        self.clock.time(optimiser, "step", "optimiser")
        if (density := getattr(pl_module, "density", None)) is not None:
            for call in ("before_backward", "seen", "after_step"):
                self.clock.time(density, call, "density")

    def on_train_batch_start(self, trainer: L.Trainer, *rest: Any) -> None:
        if trainer.global_step == self.first:
            self.clock.reset()
            self.began = time.perf_counter()

    def on_before_backward(self, *rest: Any) -> None:
        self.clock.switch(OTHER_BACK)

    def on_after_backward(self, *rest: Any) -> None:
        self.clock.switch("optimiser")  # whose step the backward pass is part of

    def on_train_end(self, *rest: Any) -> None:
        self.clock.switch(REST)
        self.seconds = time.perf_counter() - self.began


def instrument(clock: Clock, method: Method) -> None:
    """Let the clock know of drawing and losses, forwards and backwards."""
    render = method.render

    def timed(gaussians: Gaussians, cameras: Cameras, background: Float[Tensor, " 3"] | None = None) -> Rendering:
        given = clock.mark(OTHER_BACK, *vars(gaussians).values())
        with clock.part("rasterise"):
            rendering = render(Gaussians(*given), cameras, background)  # type: ignore[arg-type]
        images = clock.mark(RASTER_BACK, *(getattr(rendering, name) for name in SHOWN))
        return replace(rendering, **dict(zip(SHOWN, images, strict=True)))  # type: ignore[arg-type]

    method.render = timed  # type: ignore[method-assign]
    clock.time(method, "deform", "drive")
    clock.time(method, "training_step", "losses")
