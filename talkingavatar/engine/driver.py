"""A run's driver, and what of its capture the driver hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from talkingavatar.body.models import Body
from talkingavatar.config.schema import FitConfig
from talkingavatar.config.stages import of_kind, seen_by
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.data.motion_clips import spans
from talkingavatar.drivers import driver_class
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.chain import Chain
from talkingavatar.drivers.driver import Driver, Heard
from talkingavatar.drivers.ridge import RidgeMouth
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.errors import UserError


def driver_beside(run: RunDirectory, config: FitConfig, body: Body) -> Driver | None:
    """The driver that was trained in a run, if one was; those of several stages are a chain."""
    files = driver_files(run, config)
    if not files or not all(file.is_file() for file in files.values()):
        return None
    drivers = [load_driver(file, body, seen_by(config, name)) for name, file in files.items()]
    return drivers[0] if len(drivers) == 1 else Chain(drivers)


def driver_files(run: RunDirectory, config: FitConfig) -> dict[str, Path]:
    """Checkpoints of the stages that train drivers, by their names, whether they are there yet or not."""
    return {name: run.checkpoint(name) for name in of_kind(config, "driver")}


def load_driver(file: Path, body: Body, config: FitConfig) -> Driver:
    """The driver of a checkpoint.

    Args:
        file: of a stage of a run.
        config: of that run, as the stage sees it; its features are the driver's.

    Raises:
        UserError: the file is no driver's checkpoint or damaged, or was made for another body or other features.
    """
    content = checkpoint.read(file)
    with checkpoint.reading(file):
        card, audio = DriverCard.of(content), config.audio
        here = replace(card, driver=config.driver.name, features=audio.name, output=audio.output)
        replace(here, body=body.name, checksum=body.checksum).check(card)
        driver = driver_class(card.driver).load(content, body)
        if driver.space.names != card.names:
            raise ValueError("other parameters than its targets have")
        return driver


def required(driver: Driver | None, experiment: str) -> Driver:
    """
    Raises:
        UserError: there is no driver.
    """
    if driver is None:
        found, expected = f"{experiment}, without a driver", "a run with a driver"
        raise UserError("run", found, expected, "fit with stages=[avatar,driver]")
    return driver


def ridge_of(data: CaptureData, body: Body, folder: Path) -> RidgeMouth:
    """The closed-form mouth of a capture's frames before the held-out ones; kept in the folder."""
    manifest = data.capture.manifest
    pose = data.capture.pose(list(range(manifest.frames)), data.model)
    return RidgeMouth.fitted(heard_of(data), pose, spans(manifest, manifest.train), body, manifest.name, folder)


def heard_of(data: CaptureData, frames: list[int] | None = None, silence: Sequence[str] = ()) -> Heard:
    """What a driver hears of a capture, or silence where "audio" is withheld; `frames` are those that are wanted."""
    capture, features, samples = data.capture, data.features, data.capture.audio
    if "audio" in silence:
        features, samples = data.quiet.expand_as(features), np.zeros_like(samples)
    return Heard(capture.manifest.fps, samples, features, capture.manifest.shots, frames)
