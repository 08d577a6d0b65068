"""A run that has been fitted, ready to be driven."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from talkingavatar.body.models import Body
from talkingavatar.config.compose import from_yaml
from talkingavatar.config.schema import FitConfig
from talkingavatar.config.stages import of_kind, seen_by
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.driver import Driver
from talkingavatar.engine.build import build_body, build_clip, build_data, build_method
from talkingavatar.engine.driver import driver_beside, driver_files, ridge_of
from talkingavatar.engine.loop.machine import prepare_torch
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.errors import UserError
from talkingavatar.methods.base import Method
from talkingavatar.splatting.render import ready


@dataclass(frozen=True)
class FittedRun:
    """A method with the weights of its newest checkpoint, and the capture it was fitted to."""

    run: RunDirectory
    checkpoint: Path  # the avatar's
    data: CaptureData
    method: Method
    driver: Driver | None = None  # what foretells motion from sound, where the experiment has that stage

    @cached_property
    def body(self) -> Body:
        """The method's, on the CPU: there are a capture's poses and what a driver makes of them."""
        return deepcopy(self.method.body).to("cpu")

    def mouth(self) -> Driver:
        """What makes the avatar speak: its driver; where none was trained, the closed-form mouth of its capture."""
        return self.driver or ridge_of(self.data, self.body, self.run.path)


@dataclass(frozen=True)
class FittedDriver:
    """A driver that was trained alone, and the run's own speech and motion."""

    run: RunDirectory
    config: FitConfig
    clip: MotionClip
    driver: Driver
    body: Body


def load_driver_run(folder: Path) -> FittedDriver:
    """Open the run directory of drivers alone.

    Raises:
        UserError: a stage has no checkpoint yet, or the capture or body is not to be had.
    """
    run = RunDirectory(folder)
    config = from_yaml(run.path / "config.yaml")
    body = build_body(config)
    driver = driver_beside(run, config, body)
    if driver is None:
        files = ", ".join(file.name for file in driver_files(run, config).values())
        action = "let fit come to its first checkpoint"
        raise UserError("run", f"{folder}: no checkpoint", f"{files} in it", action)
    return FittedDriver(run, config, build_clip(config, body), driver, body)


def load_run(folder: Path) -> FittedRun:
    """Open a run directory, finished or not.

    Raises:
        UserError: it is no run, it has no checkpoint yet, or its capture or body is not to be had.
    """
    run = RunDirectory(folder)
    config = from_yaml(run.path / "config.yaml")
    action = "give a run directory of fit (its last line says which)"
    names = of_kind(config, "avatar")
    if not names:
        raise UserError("run", f"{folder}: a run of {config.experiment}", "a run that fitted an avatar", action)
    file, seen = run.checkpoint(names[-1]), seen_by(config, names[-1])
    if not file.is_file():
        found, expected = f"{folder}: no checkpoint", f"{file.name} in it"
        raise UserError("run", found, expected, "let fit come to its first checkpoint")
    device = "cpu" if config.trainer.accelerator == "cpu" or not torch.cuda.is_available() else "cuda"
    ready(config.renderer.backend, device)
    content = checkpoint.read(file)
    prepare_torch(config)
    body = build_body(config)
    data = build_data(seen, body)
    method = build_method(seen, data, body)
    checkpoint.restore(method, content, file)
    method = method.eval().requires_grad_(False).to(device)
    return FittedRun(run, file, data, method, driver_beside(run, config, method.body))
