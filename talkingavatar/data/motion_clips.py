"""Speech with the motion that goes with it, frame by frame, without pictures: what drivers are trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.features import audio_features
from talkingavatar.body.models import Body, load_body
from talkingavatar.config.schema import AudioConfig, DataConfig
from talkingavatar.data.action_units import known_action_units
from talkingavatar.data.capture import RATE, Capture, Manifest, Model, Span, paper_split
from talkingavatar.data.speaker.identity import capture_name
from talkingavatar.data.speaker.script import said
from talkingavatar.types import BodyPose, DrivingSignal

Stretch = tuple[int, int]  # start and stop of neighbouring frames


@dataclass(frozen=True)
class MotionClip:
    """T frames of one speaker; tracked, so with a tracker's noise."""

    name: str
    features: Float[Tensor, "T 16 C"]
    pose: BodyPose  # of all frames
    samples: Float[ndarray, " N"]  # the sound, 16 kHz mono
    fps: float
    shots: list[Stretch]
    train: list[Stretch]  # of the training part, without a cut or an unusable frame inside
    test: list[Stretch]  # of the held-out part, likewise
    truth: BodyPose | None = None  # the true motion, where it is known; for evaluation only
    units: Float[Tensor, "T 17"] | None = None  # intensities 0 to 5 of the action units, where they are known

    @property
    def frames(self) -> int:
        return len(self.pose)

    @property
    def signal(self) -> DrivingSignal:
        """What is known of all frames but their sound."""
        return DrivingSignal(torch.arange(self.frames), self.pose, actions=self.units)

    @property
    def test_frames(self) -> list[int]:
        return [frame for start, stop in self.test for frame in range(start, stop)]


def capture_clip(capture: Capture, audio: AudioConfig, model: Model) -> MotionClip:
    """All frames of a capture.

    Raises:
        UserError: the capture lacks this model's table, or the features are not to be had.
    """
    manifest = capture.manifest
    every, units = list(range(manifest.frames)), known_action_units(capture)
    return MotionClip(
        name=manifest.name,
        features=capture.features(audio.name, audio.path, audio.output),
        pose=capture.pose(every, model),
        samples=capture.audio,
        fps=manifest.fps,
        shots=manifest.shots,
        train=spans(manifest, manifest.train),
        test=spans(manifest, manifest.test),
        truth=capture.true_pose(every, model),
        units=None if units is None else torch.from_numpy(units.values),
    )


def speaker_clip(config: DataConfig, audio: AudioConfig, model: Model, fps: float, heldout: float = 0.0) -> MotionClip:
    """An embedded speaker's sound and tracked motion: that of its capture, without a picture being drawn.

    Args:
        config: identity, seed, length and tracker noise.
        fps: frames per second, in place of the configuration's whole number.
        heldout: share at the end that is not trained on.

    Raises:
        UserError: the speech is shorter than the clip, or the features are not to be had.
    """
    from talkingavatar.data.speaker.record import recording_of  # which loads the renderer

    recording = recording_of(config, fps)
    frames, samples = recording.frames, recording.sound()
    start = paper_split(frames, heldout, 1)[1].start if heldout > 0 else frames
    features = audio_features(samples, RATE, fps, frames, audio.name, audio.path, audio.output)
    return MotionClip(
        name=capture_name(config.identity),
        features=torch.from_numpy(np.asarray(features, np.float32)),
        pose=recording.made_up(model, start),
        samples=samples,
        fps=fps,
        shots=[(0, frames)],
        train=[(0, start)],
        test=[(start, frames)] if start < frames else [],
        truth=recording.parameters(model, truth=True).pose(),
        units=torch.from_numpy(recording.action_units().values),
    )


def whole_speech(config: DataConfig, identity: int, fps: float) -> DataConfig:
    """Another identity saying all that its voice has recorded."""
    other = replace(config, identity=identity)
    return replace(other, seconds=math.floor(said(other).speech.duration * fps) / fps)


def spans(manifest: Manifest, part: Sequence[Span]) -> list[Stretch]:
    """Stretches of a part of a capture (its strides apart), without a cut or an unusable frame inside."""
    usable, found = manifest.inside(part), []
    for first, last in manifest.shots:
        edges = np.flatnonzero(np.diff(np.concatenate([[False], usable[first:last], [False]]).astype(int)))
        found += [(first + int(a), first + int(b)) for a, b in edges.reshape(-1, 2)]
    return found


def embedded_speakers_fit(body: Body, model: Model) -> bool:
    """Whether the embedded speakers' tables are parameters of this body."""
    return load_body("open" if model == "smplx" else "open_flame").checksum == body.checksum
