"""A run that has been fitted, ready to be driven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from talkingavatar.config.compose import from_yaml
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine.build import build_body, build_data, build_method
from talkingavatar.engine.driver import Driver, driver_beside, spoken
from talkingavatar.engine.loop.machine import prepare_torch
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.stages.stage import trains_avatar
from talkingavatar.errors import UserError
from talkingavatar.methods.base import Method
from talkingavatar.types import BodyPose


@dataclass(frozen=True)
class FittedRun:
    """A method with the weights of its newest checkpoint, and the capture it was fitted to."""

    run: RunDirectory
    data: CaptureData
    method: Method
    driver: Driver | None = None  # what foretells the pose from sound, where the experiment has that stage

    def spoken(self, pose: BodyPose, frames: list[int], silence: Sequence[str] = ()) -> BodyPose:
        """The pose of these frames of the capture with the parts that the driver foretells from the capture's sound."""
        return spoken(self.data, self.driver, pose, frames, silence)


def load_run(folder: Path) -> FittedRun:
    """Open a run directory, finished or not.

    Raises:
        UserError: it is no run, it has no checkpoint yet, or its capture or body is not to be had.
    """
    run = RunDirectory(folder)
    action = "give a run directory of fit (its last line says which)"
    if not (run.path / "config.yaml").is_file():
        found = "no such folder" if not run.path.is_dir() else "a folder without config.yaml"
        raise UserError("run", f"{folder}: {found}", "the folder of a fitted run", action)
    if not run.checkpoint.is_file():
        raise UserError("run", f"{folder}: no checkpoint", "last.ckpt in it", "let fit come to its first checkpoint")
    config = from_yaml(run.path / "config.yaml")
    if not trains_avatar(config.method.name):
        raise UserError("run", f"{folder}: a run of {config.method.name}", "a run that fitted an avatar", action)
    content = checkpoint.read(run.checkpoint)
    prepare_torch(config)
    data = build_data(config)
    method = build_method(config, data, build_body(config))
    method.on_load_checkpoint(content)
    method.load_state_dict(content["state_dict"])
    on_cpu = config.trainer.accelerator == "cpu" or not torch.cuda.is_available()
    method = method.eval().requires_grad_(False).to("cpu" if on_cpu else "cuda")
    return FittedRun(run, data, method, driver_beside(run, config, method.body))
