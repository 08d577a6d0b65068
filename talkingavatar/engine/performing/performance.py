"""What a fitted avatar is to perform: body motion, mouth and sound of every frame."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.features import attention_windows, audio_features, resample
from talkingavatar.audio.mouth import VERSION, MouthModel, away_from_cuts, fit_mouth
from talkingavatar.audio.reading import read_sound
from talkingavatar.body.lips import opening_of
from talkingavatar.body.models import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.data.capture import RATE, Capture
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.data.motion_clips import spans
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.performing.borrowed import borrowed_motion
from talkingavatar.engine.performing.idle import idle_path
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose, Cameras

SOUND_RATE = 48_000  # Hz, of the sound in the video; features are made at 16 kHz


@dataclass(frozen=True)
class Performance:
    """L frames for one avatar, on the clock of its capture."""

    fps: float
    pose: BodyPose
    windows: Float[Tensor, "L 8 16 C"]  # what the method hears
    sound: Float[ndarray, " N"]  # 48 kHz mono
    cameras: Cameras  # one
    mouth: MouthModel | None  # None where the mouth is another clip's own, or a driver's

    def __len__(self) -> int:
        return len(self.pose)

    @property
    def speech(self) -> Float[ndarray, " M"]:
        """The sound at 16 kHz."""
        return resample(self.sound, SOUND_RATE, RATE)


@dataclass(frozen=True)
class Order:
    """What is to be performed, as the user names it."""

    audio: Path | None = None
    motion: Path | None = None
    start: float = 0.0  # seconds of the sound
    stop: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Score:
    """An order whose files have been opened."""

    order: Order
    sound: Float[ndarray, " N"]  # 48 kHz mono, the chosen stretch
    other: Capture | None  # whose motion it is


def read_score(order: Order) -> Score:
    """Open the sound and the other capture; quick, so that mistakes show before anything heavy is loaded.

    Raises:
        UserError: neither sound nor motion is given, or a file does not serve.
    """
    other = None if order.motion is None else Capture(order.motion, cache_mb=1)
    return Score(order, _sound(order, other), other)


def rehearse(trained: FittedRun, score: Score) -> Performance:
    """Sound and motion, brought to the avatar's clock and body.

    Raises:
        UserError: the sound is shorter than a frame, or the motion is another body's.
    """
    data, order, other = trained.data, score.order, score.other
    capture, body, fps = data.capture, trained.method.body, data.capture.manifest.fps
    seconds = len(score.sound) / SOUND_RATE
    frames = round(seconds * fps)
    if frames < 1:
        expected = f"at least one frame, {1 / fps:.3f} s"
        raise UserError("audio", f"{seconds:.3f} s of sound", expected, "give a longer sound")
    speech = resample(score.sound, SOUND_RATE, RATE)
    if other is None:
        pose, camera = idle_motion(data, body, frames, order.seed)
    else:
        first = round(order.start * other.manifest.fps) if order.audio is None else 0
        pose, camera = borrowed_motion(other, data, body, frames, first)
    features = features_of(data, speech, frames)
    mouth = None
    if other is None or order.audio is not None:
        if trained.driver is None:
            mouth = mouth_model_of(trained)
            values = mouth.predict(speech, fps, frames).astype(np.float32)
            pose = mouth_of(body).write(pose, torch.from_numpy(values))
        else:
            pose = trained.driver.pose(features, pose)
    return Performance(fps, pose, attention_windows(features), score.sound, capture.cameras([camera]), mouth)


def idle_motion(data: CaptureData, body: Body, frames: int, seed: int) -> tuple[BodyPose, int]:
    """Motion of the longest stretch among the trained frames, played on without end, and its first frame."""
    capture = data.capture
    stretch = max(spans(capture.manifest, capture.manifest.train), key=lambda ends: ends[1] - ends[0])
    pose = capture.pose(list(range(capture.manifest.frames)), data.model)
    with torch.no_grad():
        joints = torch.cat([body(pose[i : i + 64])[1] for i in range(0, len(pose), 64)])
    path = idle_path(joints.numpy(), stretch, frames, capture.manifest.fps, seed)
    return path.apply(pose), int(path.first[0])


def mouth_of(body: Body) -> PoseParts:
    """What the closed-form mouth foretells."""
    return PoseParts(body, ("jaw", "mouth"))


def mouth_model_of(trained: FittedRun) -> MouthModel:
    """The avatar's mouth from sound, fitted to the frames before the held-out ones; kept in the run directory."""
    data, body = trained.data, trained.method.body
    capture, fps = data.capture, data.capture.manifest.fps
    frames = capture.manifest.frames
    mouth, pose = mouth_of(body), capture.pose(list(range(frames)), data.model)
    parameters, opening = mouth.read(pose).numpy(), opening_of(body, pose)
    trained_on = np.zeros(frames, dtype=bool)
    for start, stop in spans(capture.manifest, capture.manifest.train):
        trained_on[start:stop] = True
    used = trained_on & away_from_cuts(capture.manifest.shots, frames, fps)
    used = used if used.sum() > fps else trained_on  # a clip of nothing but cuts
    digest = hashlib.sha256(f"{VERSION} {fps} {mouth.names}".encode())
    for part in (capture.audio, parameters, opening, used):
        digest.update(np.ascontiguousarray(part).tobytes())
    file = trained.run.path / f"mouth-{digest.hexdigest()[:12]}.npz"
    if file.is_file():
        return MouthModel.load(file)
    model = fit_mouth(capture.audio, fps, parameters, opening, used)
    with contextlib.suppress(OSError):  # a run on a read-only disk is driven without keeping it
        model.save(file)
    return model


def _sound(order: Order, other: Capture | None) -> Float[ndarray, " N"]:
    """The chosen stretch of the sound file, or of the other capture's own sound."""
    if order.audio is not None:
        sound = read_sound(order.audio, SOUND_RATE)
    elif other is not None:
        sound = resample(other.audio, RATE, SOUND_RATE)
    else:
        raise UserError("audio", "nothing", "a sound, or another capture's motion", "give audio=... or motion=...")
    seconds = len(sound) / SOUND_RATE
    stop = seconds if order.stop is None else min(order.stop, seconds)
    if not 0 <= order.start < stop:
        found = f"{order.start:g} to {stop:g} s of {seconds:.2f} s"
        raise UserError("start, stop", found, "a stretch of the sound", "correct them")
    return sound[round(order.start * SOUND_RATE) : round(stop * SOUND_RATE)]


def features_of(data: CaptureData, speech: Float[ndarray, " N"], frames: int) -> Float[Tensor, "L 16 C"]:
    """The features the method was trained on, of new sound."""
    audio = data.config.audio
    if audio.name == "deepspeech":
        raise UserError(
            "run", "a fit to published DeepSpeech windows", "features that can be made of new sound",
            "fit with audio=logmel or audio=wav2vec2 to drive it",
        )  # fmt: skip
    fps = data.capture.manifest.fps
    features = audio_features(speech, RATE, fps, frames, audio.name, audio.path, audio.output)
    return torch.from_numpy(np.ascontiguousarray(features, np.float32))
