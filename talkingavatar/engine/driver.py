"""A trained driver at work: sound to those parts of a pose that it foretells, of a whole file or as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.stream import LogMelStream
from talkingavatar.body.models import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.config.compose import suggestion
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.errors import UserError
from talkingavatar.methods.audio2param import check_description
from talkingavatar.networks.audio2param import Audio2Param, Shape
from talkingavatar.networks.audio2param_stream import FeatureStream
from talkingavatar.types import BodyPose

CHUNK = 500  # frames that are worked on at once, however long the sound


class Driver:
    """A network with what its numbers mean. `parts` says which P parameters, `fps` on which clock.

    A parameter is `mean + std * gain * output`.
    """

    def __init__(
        self,
        network: Audio2Param,
        parts: PoseParts,
        mean: Float[Tensor, " P"],
        std: Float[Tensor, " P"],
        gain: Float[Tensor, " P"],
        description: dict[str, Any],
    ) -> None:
        """`description` as `methods.audio2param.Audio2ParamTraining` gives it."""
        self.network, self.parts = network.eval(), parts
        self.mean, self.std, self.gain = mean, std, gain
        self.description = description
        self.fps: float = description["fps"]
        self.speakers: list[str] = description["speakers"]

    @property
    def lookahead(self) -> float:
        """Seconds of sound after a frame that its parameters wait for."""
        return self.network.ahead / self.fps + LogMelStream(self.fps).lookahead

    def pose(
        self,
        features: Float[Tensor, "T 16 C"],
        pose: BodyPose,
        speaker: str | None = None,
        shots: Sequence[tuple[int, int]] = (),
    ) -> BodyPose:
        """The given motion with the parts that the sound foretells; body, head and all other parts stay.

        Args:
            features: of the kind the driver was trained on, a window a frame.
            pose: T frames.
            speaker: whose style; None: the first, which is the run's own.
            shots: (start, stop) of each, that hear nothing of each other; none given means one.

        Raises:
            UserError: the driver knows no such speaker.
        """
        return self.parts.write(pose, self.parameters(features, speaker, shots).to(pose.expression))

    def parameters(
        self, features: Float[Tensor, "T 16 C"], speaker: str | None = None, shots: Sequence[tuple[int, int]] = ()
    ) -> Float[Tensor, "T P"]:
        """Radians and coefficients in the order of `parts.names`; in chunks, so that memory is bounded."""
        rows = []
        for start, stop in shots or [(0, len(features))]:
            stream = FeatureStream(self.network, self._style(speaker))
            for first in range(start, stop, CHUNK):
                rows.append(stream.push(features[None, first : min(stop, first + CHUNK)].to(self.mean)))
            rows.append(stream.finish())
        return self.values(torch.cat(rows, 1)[0])

    def values(self, output: Float[Tensor, "n P"]) -> Float[Tensor, "n P"]:
        """Radians and coefficients of the network's output."""
        return self.mean + self.std * self.gain * output

    def stream(self, speaker: str | None = None) -> DriverStream:
        """For sound that comes in chunks.

        Raises:
            UserError: the driver's features are not made of sound as it comes, or it knows no such speaker.
        """
        kind = self.description["features"]["name"]
        if kind != "logmel":
            raise UserError("audio.name", kind, "logmel, which can be made as sound comes", "train with audio=logmel")
        return DriverStream(self, self._style(speaker))

    def _style(self, speaker: str | None) -> Float[Tensor, "1 D"]:
        name = self.speakers[0] if speaker is None else speaker
        if name not in self.speakers:
            expected = f"one of {', '.join(self.speakers)}"
            raise UserError("speaker", repr(name), expected, suggestion(name, self.speakers))
        return self.network.style.weight[None, self.speakers.index(name)].detach()


class DriverStream:
    """Samples in, parameters out as soon as they are certain (`Driver.lookahead`); the same as for the whole file."""

    def __init__(self, driver: Driver, style: Float[Tensor, "1 D"]) -> None:
        self.driver = driver
        self.sound, self.frames = LogMelStream(driver.fps), FeatureStream(driver.network, style)

    def push(self, samples: Float[ndarray, " N"]) -> Float[Tensor, "n P"]:
        """The next samples (16 kHz mono); the frames that they make certain."""
        return self.driver.values(self.frames.push(self._features(self.sound.push(samples)))[0])

    def finish(self, frames: int | None = None) -> Float[Tensor, "n P"]:
        """The rest of the frames, of `frames` in all or as many as the sound is long."""
        rest = [self.frames.push(self._features(self.sound.finish(frames))), self.frames.finish()]
        return self.driver.values(torch.cat(rest, 1)[0])

    def _features(self, windows: Float[ndarray, "n 16 C"]) -> Float[Tensor, "1 n 16 C"]:
        return torch.from_numpy(windows)[None].to(self.driver.mean)


def driver_beside(run: RunDirectory, config: FitConfig, body: Body) -> Driver | None:
    """The driver that was trained in a run, if one was."""
    if "driver" not in config.stages or not run.driver.is_file():
        return None
    return load_driver(run.driver, deepcopy(body).to("cpu"), config)


def required(driver: Driver | None, experiment: str) -> Driver:
    """
    Raises:
        UserError: there is no driver.
    """
    if driver is None:
        found, expected = f"{experiment}, without a driver", "a run with a driver"
        raise UserError("run", found, expected, "fit with stages=[method,driver]")
    return driver


@torch.no_grad()
def spoken(
    data: CaptureData, driver: Driver | None, pose: BodyPose, frames: list[int], silence: Sequence[str] = ()
) -> BodyPose:
    """
    Raises:
        UserError: there is no driver.
    """
    driver, features = required(driver, data.config.experiment), data.features
    if "audio" in silence:
        features = data.quiet.expand_as(features)
    foretold = driver.parameters(features, shots=data.capture.manifest.shots)[frames]
    return driver.parts.write(pose, foretold.to(pose.expression))


def load_driver(file: Path, body: Body, config: FitConfig) -> Driver:
    """The driver of a checkpoint.

    Args:
        file: `driver.ckpt` of a run.
        config: of that run; its features are the driver's.

    Raises:
        UserError: the file is no driver's checkpoint or damaged, or was made for another body or other features.
    """
    return driver_of(checkpoint.read(file), body, config)


def driver_of(content: dict[str, Any], body: Body, config: FitConfig) -> Driver:
    """The same of a checkpoint's content."""
    here = dict(content.get("driver", {}))
    here["body"] = {"name": body.name, "checksum": body.checksum}
    here["features"] = {"name": config.audio.name, "output": config.audio.output}
    check_description(content, here)
    state = content["state_dict"]
    network = Audio2Param(Shape(**here["shape"]))
    prefix = "network."
    network.load_state_dict({key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)})
    parts = PoseParts(body, here["targets"])
    return Driver(network.requires_grad_(False), parts, state["mean"], state["std"], state["gain"], here)
