"""A capture that was imported without a tracked body, to one with: its pictures, mattes, sound and split are kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from talkingavatar.config.preprocess import PreprocessConfig
from talkingavatar.data.capture import RATE, Capture, CaptureWriter, Manifest, Span
from talkingavatar.errors import UserError
from talkingavatar.paths import user_path
from talkingavatar.preprocessing.assemble import MANIFEST, Imported, Split
from talkingavatar.preprocessing.clip import ProgressFunction
from talkingavatar.preprocessing.pipeline import Outcome, VideoWriter, capture_folder, preprocess, refuse_foreign
from talkingavatar.preprocessing.stages import Stage, only_one, run_stage
from talkingavatar.runtime.files import sha256

VERSION, FILM = 1, "film.mkv"
NO_MASKS = "none"


def is_capture(video: str) -> bool:
    """Whether what was given as a video is a capture."""
    return (user_path(video) / MANIFEST).is_file()


def preprocess_imported(config: PreprocessConfig, progress: ProgressFunction, video_writer: VideoWriter) -> Outcome:
    """Fit a rig to the capture `config.video`, from wherever an earlier start left off.

    Raises:
        UserError: its parts lie within each other, or as `preprocess`.
    """
    source = user_path(config.video)
    capture, folder = Capture(source), capture_folder(config)
    manifest = capture.manifest
    imported = Imported(published_split(manifest, str(source)), {"imported": manifest.provenance})
    refuse_foreign(folder)
    work = folder / "work"
    stage = Stage("film", VERSION, {}, {MANIFEST: sha256(source / MANIFEST), "sound": sha256(source / "audio.flac")})
    with only_one(work):
        film = run_stage(work, stage, lambda made: write_film(capture, made / FILM, progress)) / FILM
    masked = not str(manifest.provenance.get("masks", "")).startswith(NO_MASKS)
    mattes = str(source / "mattes" / manifest.views[0]) if masked else None
    sound = config.sound if capture.audio.any() else "optional"
    wanted = replace(config, video=str(film), name=config.title, size=max(manifest.width, manifest.height),
                     fps=manifest.fps, mattes=config.mattes or mattes, sound=sound,
                     sync="none" if config.sync == "auto" else config.sync)  # fmt: skip
    outcome = preprocess(wanted, progress, video_writer, imported=imported)
    if (units := capture.table("aus")) is not None:
        CaptureWriter(outcome.folder).table("aus", units)
    for windows in source.glob("aud*.npy"):
        shutil.copyfile(windows, outcome.folder / windows.name)
    return outcome


def published_split(manifest: Manifest, source: str) -> Split:
    """Its parts; frames that are in neither are left out.

    Raises:
        UserError: one part lies within the other.
    """
    train, test = (
        Span(min(s.start for s in part), max(s.stop for s in part)) for part in (manifest.train, manifest.test)
    )
    if train.start < test.stop and test.start < train.stop:
        found = f"{source}: frames {train.start}-{train.stop - 1} and {test.start}-{test.stop - 1}"
        raise UserError("video", found, "parts one after the other", "import it with train= and test=")
    used = {*manifest.usable(manifest.train), *manifest.usable(manifest.test)}
    return Split(train, test, sorted(set(range(manifest.frames)) - used))


def write_film(capture: Capture, file: Path, progress: ProgressFunction) -> None:
    """The first view without any loss (FFV1 in RGB), with the sound."""
    manifest = capture.manifest
    advance, rate = progress("film", manifest.frames), Fraction(manifest.fps).limit_denominator(1001)
    with av.open(str(file), "w") as container:
        video, audio = container.add_stream("ffv1", rate=rate), container.add_stream("flac", rate=RATE)
        video.width, video.height, video.pix_fmt = manifest.width, manifest.height, "bgr0"
        audio.layout = "mono"
        for index in range(manifest.frames):
            frame = av.VideoFrame.from_ndarray(capture.frame(index), format="rgb24")
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(video.encode(frame))
            advance()
        container.mux(video.encode())
        samples = np.round(np.clip(capture.audio, -1, 1) * 32767).astype(np.int16)
        heard = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        heard.rate, heard.pts = RATE, 0
        container.mux(audio.encode(heard))
        container.mux(audio.encode())
