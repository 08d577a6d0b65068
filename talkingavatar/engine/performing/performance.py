"""What a fitted avatar is to perform: what drives it in every frame, and the sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.features import attention_windows, audio_features, resample
from talkingavatar.audio.reading import SILENT, read_sound
from talkingavatar.body.models import Body
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.capture import RATE, Capture
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.data.motion_clips import spans
from talkingavatar.data.sources import source_of
from talkingavatar.drivers.driver import Driver, Heard, Prompt
from talkingavatar.drivers.unit_edit import UnitEdit
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.performing.borrowed import borrowed_motion
from talkingavatar.engine.performing.controls import Controls
from talkingavatar.engine.performing.editing import Edit, OpenedEdit, edited, foretold, named_face, open_edit
from talkingavatar.engine.performing.idle import idle_path
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose, Cameras, DrivingSignal

SOUND_RATE = 48_000  # Hz, of the sound in the video; features are made at 16 kHz


@dataclass(frozen=True)
class Performance:
    """L frames for one avatar, on the clock of its capture."""

    fps: float
    signal: DrivingSignal
    sound: Float[ndarray, " N"]  # 48 kHz mono
    cameras: Cameras  # one
    driver: Driver | None  # by which it follows the sound; None where the mouth is another clip's own
    notes: list[str] = field(default_factory=list)  # on how what was asked of the face was understood

    def __len__(self) -> int:
        return len(self.signal.pose)

    @property
    def speech(self) -> Float[ndarray, " M"]:
        """The sound at 16 kHz."""
        return resample(self.sound, SOUND_RATE, RATE)


@dataclass(frozen=True)
class Request:
    """What is to be performed, as the user names it."""

    audio: Path | None = None
    motion: Path | None = None
    start: float = 0.0  # seconds of the sound
    stop: float | None = None
    seed: int = 0  # of the idle motion's order, and of what a driver draws
    samples: int = 1  # of the same, that a driver draws with this seed and those after it
    prompt: Prompt = field(default_factory=Prompt)  # to the driver
    edit: Edit = field(default_factory=Edit)  # of the face, whoever foretells it
    controls: Controls = field(default_factory=Controls)  # of what it gives


@dataclass(frozen=True)
class OpenedRequest:
    """A request whose files have been opened."""

    request: Request
    sound: Float[ndarray, " N"]  # 48 kHz mono, the chosen stretch
    other: Capture | None  # whose motion it is
    edit: OpenedEdit | None = None  # of the face


def open_request(request: Request) -> OpenedRequest:
    """Open the sound and the other capture; quick, so that mistakes show before anything heavy is loaded.

    Raises:
        UserError: neither sound nor motion is given, or a file does not serve.
    """
    other = None if request.motion is None else Capture(request.motion, cache_mb=1)
    return OpenedRequest(request, _sound(request, other), other, open_edit(request.edit))


def prepare(trained: FittedRun, opened: OpenedRequest) -> list[Performance]:
    """Sound and motion, brought to the avatar's clock and body: a performance for each sample.

    Raises:
        UserError: the sound is shorter than a frame, the motion is another body's, no driver gives what is asked, or
            the face is to do something beyond the sound.
    """
    data, request, other = trained.data, opened.request, opened.other
    capture, body, fps = data.capture, trained.body, data.capture.manifest.fps
    seconds = len(opened.sound) / SOUND_RATE
    frames = round(seconds * fps)
    if frames < 1:
        expected = f"at least one frame, {1 / fps:.3f} s"
        raise UserError("audio", f"{seconds:.3f} s of sound", expected, "give a longer sound")
    if opened.edit is not None:
        named_face(body)
    track = None if opened.edit is None else opened.edit.track(fps, frames)
    speech = resample(opened.sound, SOUND_RATE, RATE)
    if other is None:
        pose, camera = idle_motion(data, body, frames, request.seed)
    else:
        first = round(request.start * other.manifest.fps) if request.audio is None else 0
        pose, camera = borrowed_motion(other, data, body, frames, first)
    driver = trained.mouth() if other is None or request.audio is not None else None
    _refuse(driver, request)
    features = features_of(data, speech, frames)
    signal = DrivingSignal(torch.full((frames,), -1), pose, attention_windows(features))
    cameras = capture.cameras([camera])
    heard, signals = Heard(fps, speech, features), [signal]
    edit = None if opened.edit is None or track is None else UnitEdit(track, opened.edit.rule)
    if driver is not None:
        given = (signal, heard, request.prompt)
        signals = [foretold(driver, *given, request.seed + k, body, edit) for k in range(request.samples)]
    elif opened.edit is not None and track is not None:
        signals = [edited(signal, body, track, opened.edit.rule)]
    notes = [] if opened.edit is None else opened.edit.notes
    shown = [request.controls.applied(signal, body, cameras) for signal in signals]
    return [Performance(fps, signal, opened.sound, cameras, driver, notes) for signal in shown]


def _refuse(driver: Driver | None, request: Request) -> None:
    """Samples or a prompt that nothing answers."""
    if driver is None and (request.samples > 1 or request.prompt.given()):
        found = ", ".join([*request.prompt.given(), *["samples"] * (request.samples > 1)])
        expected = "nothing: the mouth is the other capture's own"
        raise UserError("motion", found, expected, "leave it out, or give audio=...")
    if driver is not None and not driver.draws and request.samples > 1:
        expected = f"1: {driver.card.driver} gives one motion for a sound"
        raise UserError("samples", str(request.samples), expected, "leave it out, or use a driver that draws")


def idle_motion(data: CaptureData, body: Body, frames: int, seed: int) -> tuple[BodyPose, int]:
    """Motion of the longest stretch among the trained frames, played on without end, and its first frame."""
    capture = data.capture
    stretch = max(spans(capture.manifest, capture.manifest.train), key=lambda ends: ends[1] - ends[0])
    pose = capture.pose(list(range(capture.manifest.frames)), data.model)
    with torch.no_grad():
        joints = torch.cat([body(pose[i : i + 64])[1] for i in range(0, len(pose), 64)])
    path = idle_path(joints.numpy(), stretch, frames, capture.manifest.fps, seed)
    return path.apply(pose), int(path.first[0])


def unheard_sound(data: CaptureData, said: DataConfig, seconds: float) -> Float[ndarray, " N"]:
    """Speech that was not trained on, 48 kHz mono: what the person of `said` says next, else held-out speech anew."""
    sound, manifest = source_of(said).unheard(said, seconds), data.capture.manifest
    if sound is None:
        start, stop, _ = manifest.test[0]
        begin, end = start / manifest.fps, min(stop / manifest.fps, start / manifest.fps + seconds)
        sound = data.capture.audio[round(begin * RATE) : round(end * RATE)]
    return resample(sound, RATE, SOUND_RATE)


def _sound(request: Request, other: Capture | None) -> Float[ndarray, " N"]:
    """The chosen stretch of the sound file, or of the other capture's own sound."""
    if request.audio is not None:
        sound = read_sound(request.audio, SOUND_RATE)
    elif other is not None:
        sound = resample(other.audio, RATE, SOUND_RATE)
    else:
        raise UserError("audio", "nothing", "a sound, or another capture's motion", "give audio=... or motion=...")
    seconds = len(sound) / SOUND_RATE
    stop = seconds if request.stop is None else min(request.stop, seconds)
    if not 0 <= request.start < stop:
        found = f"{request.start:g} to {stop:g} s of {seconds:.2f} s"
        raise UserError("start, stop", found, "a stretch of the sound", "correct them")
    stretch = sound[round(request.start * SOUND_RATE) : round(stop * SOUND_RATE)]
    if np.abs(stretch).max(initial=0) < SILENT <= np.abs(sound).max():
        found = f"{request.start:g} to {stop:g} s, where the sound of {seconds:.2f} s is silent"
        raise UserError("start, stop", found, "a stretch with sound", "correct them")
    return stretch


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
