"""The embedded default: a synthetic speaker's performance, recorded as a capture on first use.

What the capture tells (tracked parameters, landmarks) has a tracker's faults; what is true lies apart in `truth/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray

from talkingavatar import __version__
from talkingavatar.audio.speech import Speech, voices
from talkingavatar.body.models import Body, load_body
from talkingavatar.config.emotions import EMOTIONS, chosen_emotions
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.action_units import JAW_JOINT, unit_table
from talkingavatar.data.capture import FRONT, RATE, CaptureWriter, Manifest, Model, Table, paper_split
from talkingavatar.data.made_up import made_up
from talkingavatar.data.speaker.body_motion import STYLES, Performance, perform
from talkingavatar.data.speaker.emotions import Feelings
from talkingavatar.data.speaker.identity import capture_name, person
from talkingavatar.data.speaker.parameters import BodyParameters, head_parameters
from talkingavatar.data.speaker.probe import heard_emotions
from talkingavatar.data.speaker.renderer import compile_kernels
from talkingavatar.data.speaker.scene import FRAMINGS, SpeakerScene
from talkingavatar.data.speaker.script import said, voice_of
from talkingavatar.data.speaker.tracker import Tracked, noisy_landmarks, track
from talkingavatar.errors import UserError
from talkingavatar.paths import cache_root
from talkingavatar.runtime.sealed import made_once
from talkingavatar.runtime.threads import in_order
from talkingavatar.types import BodyPose, Cameras

SPEAKER_VERSION = 8  # raise when the same configuration would give other pictures or parameters
SCRIPT_VERSION = 3  # the same of performances with labelled emotions
# Fields of the configuration that the capture depends on; the others say what is done with it.
DECISIVE = ("identity", "seed", "seconds", "fps", "size", "framing", "tracker_noise", "heldout", "stride")
MODELS: tuple[Model, ...] = ("smplx", "flame")
# Cameras beside the one in front, in the order in which more of them record; degrees, as `SIDES`.
AROUND = ("35", "325", "70", "290", "15", "345", "50", "310", "110", "250")
PROBED = 4  # takes of a speech in which it is probed how much of what is felt can be heard
# Views that are never trained on: degrees from the front, to the left; drawn when asked for (`views`).
SIDES = ("30", "60", "90", "180", "300", "330")
# Bytes of a pixel: while one picture is drawn and learned from, and of a picture and its matte at least on the disk.
AT_WORK, WRITTEN = 400.0, 0.5


@dataclass(frozen=True)
class Recording:
    """What is known before the pictures are drawn."""

    config: DataConfig
    body: Body
    betas: Float[ndarray, " S"]
    speech: Speech
    feelings: Callable[[Float[ndarray, " T"]], Feelings] | None  # at given times; None: nothing is labelled
    performance: Performance
    tracked: Tracked
    frames: int
    fps: float

    @cached_property
    def scene(self) -> SpeakerScene:
        """The person to be drawn; seconds of work that motion and sound do not need."""
        config = self.config
        return SpeakerScene(config.identity, config.size, config.size, config.framing, config.cloth)

    def parameters(self, model: Model, truth: bool = False) -> BodyParameters:
        """The table of the whole body or, for the open rig's FLAME file, of its head; as tracked or as it is."""
        if truth:
            parameters = BodyParameters.true(self.performance, self.betas, self.body.expression_names)
        else:
            tracked = self.tracked
            parameters = BodyParameters(tracked.betas, tracked.expression, tracked.full_pose, tracked.transl)
        return parameters if model == "smplx" else head_parameters(parameters, self.body)

    def action_units(self, truth: bool = False) -> Table:
        """Intensities 0 to 5 of OpenFace's units."""
        found = self.parameters("smplx", truth)
        return unit_table(found.expression, self.body.expression_names, found.full_pose[:, JAW_JOINT, 0])

    def made_up(self, model: Model, seen: int) -> BodyPose:
        """Tracked motion, with what landmarks in a portrait show that tracked people lack (`Capture.pose`).

        Args:
            seen: frames at the start that tell what they lack alike in all frames.
        """
        shapes, faces, pose = self.config.shape_shift, self.config.face_gains, self.parameters(model).pose()
        if not (shapes or faces):
            return pose
        body = self.body if model == "smplx" else load_body("open_flame")
        points = self.body.posed_landmarks(self.parameters("smplx", truth=True).pose())
        camera = Pinhole.facing(points.mean((0, 1)).numpy())
        shown = camera.project(points.double().numpy())
        found = noisy_landmarks(shown, fps=self.fps, seed=self.config.seed, quality=self.config.tracker_noise)
        marks, every = torch.from_numpy(found), range(len(found))
        return made_up(body, pose, marks, camera.cameras(len(marks)), range(seen), shapes, faces).apply(pose, every)

    def sound(self) -> Float32[ndarray, " N"]:
        """16 kHz mono, as long as the frames."""
        samples = np.zeros(round(self.frames / self.fps * RATE), np.float32)
        samples[: len(self.speech.samples)] = self.speech.samples[: len(samples)]
        return samples


def speaker_capture(config: DataConfig, progress: Callable[[str, int], Callable[[], None]]) -> Path:
    """The folder of the embedded capture of this configuration, made if it is not there yet, or damaged.

    `progress(title, total)` returns what is called after each frame drawn.

    Raises:
        UserError: the speech is shorter than the clip, or the pictures are too large.
    """
    folder = cache_root() / "captures" / f"{capture_name(config.identity)}-{_digest(config)}"

    def make(made: Path) -> None:
        check_room(config.size, len(_shots(config)), made)
        _write(recording_of(config), made, progress)

    return made_once(folder, make)


def check_room(size: int, frames: int, folder: Path) -> None:
    """Refuse what would take hours to draw and could not be used or kept then.

    Args:
        size: of a picture, pixels each way.
        folder: where they are to lie.

    Raises:
        UserError: one picture is too large for the machine's memory, or all are for what the disk has free.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _check_size(size, AT_WORK * size**2, memory, "memory", "lower it")
    disk = shutil.disk_usage(folder).free
    needed = WRITTEN * frames * size**2
    _check_size(size, needed, disk, "disk for caches", "lower it, make room, or set $TALKINGAVATAR_CACHE")


def _check_size(size: int, needed: float, room: int, place: str, action: str) -> None:
    if needed > room:
        found = f"{size}: about {needed / 1e9:.1f} GB"
        raise UserError("data.size", found, f"at most {room / 1e9:.1f} GB, this machine's {place}", action)


def recording_of(config: DataConfig, fps: float | None = None) -> Recording:
    """Speech, motion and the tracker's view of it, without pictures.

    Args:
        fps: frames per second, where they are not the configuration's whole number.

    Raises:
        UserError: the speech is shorter than the clip.
    """
    body = load_body("open")
    take = said(config)
    speech = take.speech
    if config.seconds > speech.duration:
        raise UserError(
            "data.seconds",
            f"{config.seconds}",
            f"at most {speech.duration:.0f}, the length of the speech",
            "shorten it",
        )
    speech = speech.excerpt(0.0, config.seconds)
    fps = fps or config.fps
    frames = round(config.seconds * fps)
    style = list(STYLES.values())[config.identity % len(STYLES)]
    who = person(config.identity)
    feels = partial(Feelings, take.felt, person=who.seed, crooked=who.crooked, seed=config.seed, strength=style.feeling)
    feelings = feels if take.felt else None
    performance = perform(speech, frames, fps, config.seed, style, feelings)
    betas = np.array(who.betas, np.float64)
    true = BodyParameters.true(performance, betas, body.expression_names)
    tracked = track(**vars(true), names=body.expression_names, fps=fps, seed=config.seed,
                    quality=config.tracker_noise, framing=FRAMINGS[config.framing] / FRAMINGS["body"])  # fmt: skip
    return Recording(config, body, betas, speech, feelings, performance, tracked, frames, fps)


def _write(recording: Recording, folder: Path, progress: Callable[[str, int], Callable[[], None]]) -> None:
    """All files of the capture; the manifest last."""
    config, frames = recording.config, recording.frames
    writer = CaptureWriter(folder, _recorded(config))
    with ThreadPoolExecutor(2) as pool:
        scene = pool.submit(lambda: recording.scene)
        pool.submit(compile_kernels)
        _write_parameters(writer, recording)
        vertices, _ = recording.parameters("smplx", truth=True).posed(recording.body)
        K, viewmat = scene.result().camera()
    recorded = _recorded(config)
    cameras = [recording.scene.side_camera(_degrees(view)) for view in (*recorded, *SIDES)]
    Ks, viewmats = zip(*cameras, strict=True)
    writer.cameras(np.stack(viewmats)[:, None], np.stack(Ks)[:, None])
    _write_seen(writer, recording, vertices, Pinhole(K, viewmat))
    writer.sound(recording.sound())
    _draw(recording, writer, progress("making the speaker", len(_shots(config))))
    train, test = paper_split(frames, config.heldout, config.stride)
    writer.finish(
        Manifest(
            name=capture_name(config.identity),
            fps=float(config.fps),
            width=config.size,
            height=config.size,
            frames=frames,
            train=[train],
            test=[test],
            views=[*recorded, *SIDES],
            test_views=list(SIDES),
            body={"smplx": recording.body.checksum, "flame": load_body("open_flame").checksum},
            provenance={
                "kind": "synthetic",
                "made_by": f"talkingavatar {__version__}, speaker version {SPEAKER_VERSION}",
                "voice": voices()[voice_of(config.identity)],
                "text": recording.speech.text,
                "consent": "nobody: the person does not exist",
                **_heard(config),
            },
        )
    )


def _write_parameters(writer: CaptureWriter, recording: Recording) -> None:
    """The tables of bodies and faces, as tracked and as they are."""
    names = recording.body.expression_names
    for truth in (False, True):
        for model in MODELS:
            writer.parameters(model, vars(recording.parameters(model, truth)), names, truth)
        values = recording.parameters("smplx", truth).expression.astype(np.float32)
        writer.table("actions", Table(list(names), values), truth)
        if recording.feelings is not None:
            _write_felt(writer, recording, truth)


def _write_felt(writer: CaptureWriter, recording: Recording, truth: bool) -> None:
    """Emotions as labelled or as felt, action units as tracked or as they are."""
    assert recording.feelings is not None, "asked for by the configuration"
    felt = recording.feelings(np.arange(recording.frames) / recording.fps)
    shares = felt.intensities if truth else felt.labels
    writer.table("emotion", Table(list(EMOTIONS), shares.astype(np.float32)), truth)
    writer.table("aus", recording.action_units(truth), truth)


@dataclass(frozen=True)
class Pinhole:
    """The static camera."""

    K: Float[ndarray, "3 3"]
    viewmat: Float[ndarray, "4 4"]

    @staticmethod
    def facing(point: Float[ndarray, " 3"]) -> Pinhole:
        """A portrait's, in front of a face."""
        viewmat = np.diag([1.0, -1.0, -1.0, 1.0])
        viewmat[:3, 3] = [-point[0], point[1], point[2] + 2.0]
        return Pinhole(np.diag([2000.0, 2000.0, 1.0]), viewmat)

    def cameras(self, count: int) -> Cameras:
        """So often as frames look through it; nothing is drawn, so it has no size."""
        viewmats, Ks = (torch.from_numpy(m).float().expand(count, -1, -1) for m in (self.viewmat, self.K))
        return Cameras(viewmats, Ks, 0, 0)

    def project(self, points: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b 2"]:
        seen = points @ self.viewmat[:3, :3].T + self.viewmat[:3, 3]
        pixels = seen @ self.K.T
        return pixels[..., :2] / pixels[..., 2:]


def _write_seen(
    writer: CaptureWriter, recording: Recording, vertices: Float[ndarray, "T V 3"], camera: Pinhole
) -> None:
    """Landmarks as detected and as they are, and the boxes of the regions, of the body's true vertices."""
    body, config = recording.body, recording.config
    marks = camera.project(body.landmarks(torch.from_numpy(vertices)).numpy())
    certain = np.concatenate([marks, np.ones((*marks.shape[:2], 1))], -1).astype(np.float32)
    detected = noisy_landmarks(marks, fps=config.fps, seed=config.seed, quality=config.tracker_noise)
    writer.landmarks(detected)
    writer.landmarks(certain, truth=True)
    boxes = {name: _box(camera.project(vertices[:, body.regions[name]]), config.size)
             for name in ("head", "left_hand", "right_hand")}  # fmt: skip
    mouth = marks[:, 48:68]
    grown = mouth.mean(1, keepdims=True) + 1.5 * (mouth - mouth.mean(1, keepdims=True))
    boxes["mouth"] = _box(grown, config.size)
    writer.regions(boxes)


def _box(points: Float[ndarray, "T P 2"], size: int) -> Float[ndarray, "T 4"]:
    """x0 y0 x1 y1 inside the picture; NaN where less than half of the points are in it."""
    inside = ((points > 0) & (points < size)).all(-1).mean(1) >= 0.5
    box = np.concatenate([points.min(1), points.max(1)], -1).clip(0, size).astype(np.float32)
    box[~inside] = np.nan
    return box


def _recorded(config: DataConfig) -> list[str]:
    """Views that are there for good."""
    return [FRONT, *AROUND[: config.cameras - 1]]


def _degrees(view: str) -> float:
    return 0.0 if view == FRONT else float(view)


def _shots(config: DataConfig) -> list[tuple[int, str]]:
    """Frame and view of every picture: all frames by the front camera, by others what is trained on or held out."""
    frames = round(config.seconds * config.fps)
    train, test = paper_split(frames, config.heldout, config.stride)
    used = sorted({*train.frames, *test.frames})
    return [(i, FRONT) for i in range(frames)] + [(i, view) for view in _recorded(config)[1:] for i in used]


def _draw(recording: Recording, writer: CaptureWriter, tick: Callable[[], None]) -> None:
    """Every frame by every camera through the mesh renderer, shared out over the processor's cores."""
    scene, performance = recording.scene, recording.performance
    expression = performance.expression_matrix(recording.body.expression_names)
    cameras = {view: scene.side_camera(_degrees(view)) for view in _recorded(recording.config)}

    def draw(shot: tuple[int, str]) -> None:
        i, view = shot
        pose = performance.full_pose[i], performance.transl[i], expression[i]
        writer.picture(i, *scene.render(*pose, cameras[view]), view)

    for _ in in_order(draw, _shots(recording.config)):
        tick()


def _heard(config: DataConfig) -> dict[str, Any]:
    """Whether a driver from sound has anything to hear, where there are phrases enough to say so."""
    emotions = chosen_emotions(config.emotions)
    if len(emotions) < 2 or len([f for f in said(config).felt if f.start < config.seconds]) < len(emotions):
        return {}
    takes = [said(replace(config, seed=config.seed + k)) for k in range(PROBED)]
    told = "share of phrases whose emotion a linear probe tells from log-mel, the phrases held out"
    return {"emotion_heard": round(heard_emotions(takes), 3), "chance": round(1 / len(emotions), 3), "heard": told}


def _digest(config: DataConfig) -> str:
    """Of all that decides the bytes of the capture."""
    kept = {field: getattr(config, field) for field in DECISIVE}
    kept |= {"version": SPEAKER_VERSION, "sealed": True, "rig": load_body("open").checksum}
    if config.cloth != "own":
        kept |= {"cloth": config.cloth}
    if emotions := chosen_emotions(config.emotions):
        kept |= {"emotions": emotions, "script": SCRIPT_VERSION}
    if config.cameras > 1:
        kept |= {"cameras": config.cameras}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:10]
