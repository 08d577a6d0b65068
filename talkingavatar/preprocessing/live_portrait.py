"""A portrait that LivePortrait moves, to a capture: the frames that it makes are tracked as those of a film are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.audio.reading import read_sound
from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.config.preprocess import PreprocessConfig
from talkingavatar.data.capture import RATE, Capture, Table
from talkingavatar.data.mesh_motion import FPS
from talkingavatar.data.portrait.ditto import DittoDriver, DittoFiles, find_ditto
from talkingavatar.data.portrait.face_crop import face_crop
from talkingavatar.data.portrait.joyvasa import JoyVasaDriver, JoyVasaFiles, find_joyvasa
from talkingavatar.data.portrait.live_portrait import LivePortrait
from talkingavatar.data.portrait.portrait import Portrait
from talkingavatar.data.portrait.record import POSE_NAMES
from talkingavatar.data.portrait.source import Animated
from talkingavatar.data.portrait.speech_driver import SpeechDriver
from talkingavatar.errors import UserError
from talkingavatar.networks.live_portrait.files import complete, find_live_portrait
from talkingavatar.networks.mesh_code import MotionLatent
from talkingavatar.paths import user_path
from talkingavatar.preprocessing.assemble import MANIFEST, Moved
from talkingavatar.preprocessing.clip import SILENT, ProgressFunction, save_png
from talkingavatar.preprocessing.pipeline import Outcome, VideoWriter, preprocess
from talkingavatar.preprocessing.portrait import fitted_portrait
from talkingavatar.preprocessing.stages import Stage, made_anew, run_stage, write_json
from talkingavatar.runtime.files import sha256

VERSION = 1  # raise when the same portrait, motion and weights would give other frames
LATENT = "LivePortrait"  # what results are told by
FILM, MOTION, FACTS, INVALID = "moved.mp4", "motion.npz", "moved.json", "invalid.json"
FRAMES, CONFIDENCE = "frames", "confidence"
SEED = 0  # what a driver from sound draws with
TEMPLATE = ".pkl"
DriverFiles = JoyVasaFiles | DittoFiles


@dataclass(frozen=True)
class Driving:
    """Motion of the portrait's person, and what is heard with it."""

    motion: MotionLatent
    fps: float
    sound: Float[ndarray, " N"]  # 16 kHz; empty: none
    told: dict[str, Any]


def preprocess_live_portrait(
    config: PreprocessConfig, progress: ProgressFunction, video_writer: VideoWriter, film_writer: VideoWriter
) -> Outcome:
    """Make the capture of `config.portrait`, from wherever an earlier start left off.

    Args:
        film_writer: as `video_writer`, with next to no loss.

    Raises:
        UserError: files are missing or not the published ones, a motion is none, or as `preprocess`.
    """
    files = complete(find_live_portrait(config.weights))
    drivers: list[DriverFiles] = [find_joyvasa(config.weights), find_ditto(config.weights)]
    motion = None if config.motion is None else user_path(config.motion)
    speaks = motion is None or (motion.is_file() and motion.suffix != TEMPLATE)
    _check_motion(motion, drivers if speaks else None)
    driver = next((found for found in drivers if found.found), None) if speaks else None
    weights = files.checksums() | ({} if driver is None else driver.checksums())
    with fitted_portrait(config, progress) as fitted:
        inputs = {"fit": fitted.fit.key, "motion": _digest(motion)} | weights
        stage = Stage("moved", VERSION, {"frames": config.frames, "seed": SEED}, inputs)

        def make(folder: Path) -> None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            source = LivePortrait(fitted.mesh, files, _loaded(driver, device), device=device)
            portrait = fitted.still().portrait
            driven = driving(source, portrait, motion, config.frames, progress)
            move(source, portrait, driven, folder, progress, film_writer)

        work = run_stage(fitted.work, stage, make)
        with made_anew(work):
            told = json.loads((work / FACTS).read_text())
        told |= fitted.told() | {"weights": weights, "moved": stage.key}
    moved = Moved(_table(work / MOTION), work / CONFIDENCE, {int(i): why for i, why in told["invalid"].items()}, told)
    film = replace(config, portrait=None, video=str(work / FILM), name=config.title, sync="none", body="open_flame",
                   crop=None, size=config.long_side, fps=told["fps"],
                   sound="required" if told["heard"] else "optional")  # fmt: skip
    try:
        return preprocess(film, progress, video_writer, moved)
    except UserError as error:
        if error.field != "video":
            raise
        found = f"liveportrait, whose film {work / FILM} shows {error.found}"
        raise UserError("source", found, error.expected, "look at it; give another portrait or motion") from error


def _check_motion(motion: Path | None, drivers: Sequence[DriverFiles] | None) -> None:
    """
    Args:
        drivers: of which one has to tell it from sound; None: it is no sound.

    Raises:
        UserError: it is not there, is no capture, or is to be told from sound, and by nothing.
    """
    if motion is not None and not motion.exists():
        raise UserError("motion", f"{motion}: nothing there", "a capture, a template or a sound", "correct the path")
    if motion is not None and motion.is_dir() and not (motion / MANIFEST).is_file():
        raise UserError("motion", f"{motion}: no capture", "one made by preprocess video=...", "make it first")
    if drivers is not None and not any(driver.found for driver in drivers):
        what = "none" if motion is None else f"the sound {motion}, and no driver ({drivers[0].why_skipped})"
        raise UserError("motion", what, "a capture (of a film) or a template (.pkl), or JoyVASA's or Ditto's files",
                        "give motion=captures/<name> or motion=<template>.pkl")  # fmt: skip


def _loaded(driver: DriverFiles | None, device: str) -> SpeechDriver | None:
    if isinstance(driver, JoyVasaFiles):
        return JoyVasaDriver(driver, device=device)
    return None if driver is None else DittoDriver(driver, device=device)


def driving(
    source: LivePortrait, portrait: Portrait, motion: Path | None, frames: int, progress: ProgressFunction
) -> Driving:
    """At most so many frames of a capture, a template, a sound, or the package's own speech.

    Raises:
        UserError: it is none of them, or shorter than a second.
    """
    if motion is not None and motion.is_dir():
        found = _of_capture(source, portrait, motion, frames, progress)
    elif motion is not None and motion.suffix == TEMPLATE:
        told = source.adapted(portrait, _first(source.bank(str(motion)), frames))
        found = Driving(told, FPS, np.zeros(0, np.float32), {"motion": motion.name})
    else:
        found = _of_sound(source, portrait, motion, frames, progress)
    if (count := len(found.motion.dyn)) < found.fps:
        raise UserError("motion", f"{count} frames at {found.fps:g} a second", "at least a second",
                        "give a longer one, and frames=25 or more")  # fmt: skip
    return found


def _of_sound(
    source: LivePortrait, portrait: Portrait, file: Path | None, frames: int, progress: ProgressFunction
) -> Driving:
    name = "the package's speech" if file is None else file.name
    said = _speech() if file is None else read_sound(file, RATE, "motion")
    said = said[: round(frames / FPS * RATE)]
    advance = progress("motion from sound", 1)
    told = source.spoken(portrait, said, FPS, SEED)
    advance()
    assert source.driver is not None
    return Driving(_first(told, frames), FPS, said, {"motion": name, "driver": source.driver.name})


def _speech() -> Float[ndarray, " N"]:
    return np.concatenate([load_speech(voice).samples for voice in voices()])


def _first(motion: MotionLatent, frames: int) -> MotionLatent:
    return MotionLatent(motion.dyn[:frames], motion.pose[:frames])


def _of_capture(
    source: LivePortrait, portrait: Portrait, folder: Path, frames: int, progress: ProgressFunction
) -> Driving:
    capture = Capture(folder)
    marks, count, fps = capture.landmarks(), min(frames, capture.manifest.frames), capture.manifest.fps
    seen = None if marks is None else marks[:count, :, :2][np.isfinite(marks[:count, :, :2]).all((1, 2))]
    if seen is None or not len(seen):
        raise UserError("motion", f"{folder} without landmarks of a face", "a capture with them", "choose another")
    advance = progress("reading the motion", count)

    def pictures() -> Iterator[UInt8[ndarray, "H W 3"]]:
        for index in range(count):
            yield capture.frame(index)
            advance()

    motion = source.adapted(portrait, source.read_pictures(pictures(), face_crop(seen)))
    return Driving(motion, fps, capture.audio[: round(count / fps * RATE)], {"motion": capture.manifest.name})


def move(
    source: LivePortrait,
    portrait: Portrait,
    driven: Driving,
    folder: Path,
    progress: ProgressFunction,
    film_writer: VideoWriter,
) -> None:
    """Fill `folder`: frames and confidence, the film of them, the latents, and last what is told of it.

    Frames that are there already are kept.
    """
    motion = driven.motion
    count, invalid = len(motion.dyn), folder / INVALID
    files = [folder / FRAMES / f"{index:06d}.png" for index in range(count)]
    for part in (FRAMES, CONFIDENCE):
        (folder / part).mkdir(exist_ok=True)
    why = json.loads(invalid.read_text()) if invalid.is_file() else {}
    done = next((index for index, file in enumerate(files) if not file.is_file()), count)
    advance = progress("moving the portrait", count - done)
    rest = MotionLatent(motion.dyn[done:], motion.pose[done:])
    for index, shown in enumerate(source.animate(portrait, rest), done):
        if not shown.valid:
            why[str(index)] = shown.why
            write_json(invalid, why)
        _save(shown, files[index], folder / CONFIDENCE / f"{index:06d}.png")
        advance()
    with film_writer(folder / FILM, driven.fps, driven.sound) as film:
        for file in files:
            with Image.open(file) as image:
                film.write(np.array(image.convert("RGB")))
    names = [f"dyn_{number}" for number in range(motion.dyn.shape[1])] + list(POSE_NAMES)
    Table(names, torch.cat([motion.dyn, motion.pose], 1).numpy()).save(folder / MOTION)
    heard = bool(len(driven.sound) and np.abs(driven.sound).max() >= SILENT)
    told = {"kind": "distilled", "latent": LATENT, "source": f"{source.name} {source.version}",
            "licence": source.licence, "invalid": why, "fps": driven.fps, "heard": heard}  # fmt: skip
    write_json(folder / FACTS, told | driven.told)


def _save(shown: Animated, frame: Path, confidence: Path) -> None:
    """With even sides, as films have them. The frame last: where it is, all is."""
    height, width = shown.frame.shape[:2]
    grown = ((0, height % 2), (0, width % 2))
    save_png(np.pad(np.rint(255 * shown.confidence).astype(np.uint8), grown, mode="edge"), confidence)
    save_png(np.pad(shown.frame, (*grown, (0, 0)), mode="edge"), frame)


def _table(file: Path) -> Table:
    with np.load(file, allow_pickle=False) as kept:
        return Table(kept["names"].tolist(), kept["values"], float(kept["scale"]))


def _digest(motion: Path | None) -> str:
    if motion is None:
        return "speech"
    return sha256(motion / MANIFEST if motion.is_dir() else motion)
