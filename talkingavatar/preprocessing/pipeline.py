"""From a video file to a capture, stage by stage: ingest, landmarks, matte, align, assemble."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar import __version__
from talkingavatar.audio.film import check_file
from talkingavatar.body.body import Body
from talkingavatar.body.models import load_body
from talkingavatar.config.preprocess import PreprocessConfig, sync_frames
from talkingavatar.data.stated import read_json
from talkingavatar.errors import UserError
from talkingavatar.paths import user_path
from talkingavatar.preprocessing import assemble, clip, matting
from talkingavatar.preprocessing.aligned import load_alignment, save_alignment
from talkingavatar.preprocessing.alignment import align as alignment
from talkingavatar.preprocessing.alignment.align import AlignmentOptions
from talkingavatar.preprocessing.beside import Beside
from talkingavatar.preprocessing.clip import Clip, Cutout, ProgressFunction
from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.preprocessing.landmarks.mediapipe_source import MediaPipe
from talkingavatar.preprocessing.landmarks.openface import OpenFace
from talkingavatar.preprocessing.landmarks.openpose import OpenPose
from talkingavatar.preprocessing.landmarks.source import LandmarkSource, Observed, observe
from talkingavatar.preprocessing.report import STAGES, overlays, write_report
from talkingavatar.preprocessing.stages import STAMP, Stage, made_anew, only_one, remove, run_stage
from talkingavatar.preprocessing.sync import Offset, estimate_offset, mouth_opening, shifted
from talkingavatar.preprocessing.trunk import TRUNK_VERSION, Steadied, steady_trunk
from talkingavatar.runtime.files import sha256
from talkingavatar.runtime.threads import made_ahead

ALONE = 0.8  # share of the frames with a face in which there must be but one
SEEN = 1.0  # seconds of a face that a clip must show

OVERLAY_VERSION = 1
ALIGN_VERSION = (alignment.VERSION << 8) + TRUNK_VERSION
STEADIED = "keypoints.npz"


class Writes(Protocol):
    """Something that pictures are written to."""

    def write(self, image: UInt8[ndarray, "H W 3"]) -> None: ...


VideoWriter = Callable[[Path, float, Float[ndarray, " N"]], AbstractContextManager[Writes]]


@dataclass(frozen=True)
class Outcome:
    """What `preprocess` tells the user at the end."""

    folder: Path
    report: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One preprocessing: what is wanted, where it works, how it tells its progress."""

    config: PreprocessConfig
    folder: Path
    progress: ProgressFunction
    video_writer: VideoWriter
    moved: assemble.Moved | None = None  # of a film that was made of a portrait
    imported: assemble.Imported | None = None  # of one that was made of a capture

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def video(self) -> Path:
        return user_path(self.config.video)

    def path(self, given: str | None) -> Path | None:
        return None if given is None else user_path(given)


def capture_folder(config: PreprocessConfig) -> Path:
    """`out`, else the name in `$TALKINGAVATAR_CAPTURES`, else in `./captures`."""
    if config.out is not None:
        return user_path(config.out)
    return user_path(os.environ.get("TALKINGAVATAR_CAPTURES") or "captures") / config.title


def preprocess(
    config: PreprocessConfig,
    progress: ProgressFunction,
    video_writer: VideoWriter,
    moved: assemble.Moved | None = None,
    imported: assemble.Imported | None = None,
) -> Outcome:
    """Make the capture, from wherever an earlier start left off.

    Args:
        config: what is wanted.
        progress: `progress(title, total)` returns what is called after each of `total` pieces of work.
        video_writer: opens an mp4 for the overlay: (file, fps, sound), a context with `write(picture)`.
        moved: of a film that was made of a portrait.
        imported: of one that was made of a capture.

    Raises:
        UserError: a mistake in what was given, or a clip nothing can be made of.
    """
    job = Job(config, capture_folder(config), progress, video_writer, moved, imported)
    check_file(job.video, "video", "a video")
    if (job.folder / assemble.MANIFEST).is_file() and not job.work.is_dir():
        raise UserError(
            "out", f"{job.folder}: a capture made by something else", "a folder of its own", "give name=..."
        )
    refuse_foreign(job.folder)
    with only_one(job.work):
        keys: dict[str, str] = {}
        keys["ingest"] = _ingest(job)
        with made_anew(job.work / "ingest"):
            footage = Clip(job.work / "ingest", job.video)
        check_shots(footage)
        keys["landmarks"] = _landmarks(job, footage, keys["ingest"])
        with made_anew(job.work / "landmarks"):
            seen = Observed(job.work / "landmarks", footage.shots)
        _warn(seen.believed)
        check_person(seen.keypoints, footage)
        split = _split(job, seen.keypoints, footage)
        body = load_body(config.body, config.body_path, config.gender)
        _matte_and_align(job, footage, seen, body, keys)
        with made_anew(job.work / "align"):
            found = load_alignment(job.work / "align" / "alignment.pt")
            steadied = Keypoints.load(job.work / "align" / STEADIED)
        measured = estimate_offset(mouth_opening(seen.keypoints), footage.audio, footage.fps, footage.shots)
        offset = chosen_offset(sync_frames(config), measured)
        matte = job.work / "matte"
        parts = assemble.Parts(config.title, footage, steadied, seen.actions, matte, found, body, offset, split, moved)
        _assemble(job, parts, measured, {"landmarks": dict(seen.believed), "mattes": _believed_mattes(job)}, keys)
        _overlay(job, parts, keys["align"])
        return Outcome(job.folder, write_report(parts, measured, job.folder))


def refuse_foreign(folder: Path) -> None:
    """
    Raises:
        UserError: what a preprocessing would replace lies in the folder, made by something else.
    """
    work = folder / "work"
    if (folder / assemble.MANIFEST).exists() or any(work.glob(f"*/{STAMP}")):
        return
    begun = (".lock", *(f"{name}.partial" for name in (*STAGES, "capture")))  # killed before its first stamp
    foreign = [name for name in assemble.ALL_PARTS if (folder / name).exists()]
    foreign += [f"work/{entry.name}" for entry in work.glob("*") if not entry.name.startswith(begun)]
    if foreign:
        found = f"{folder} with {', '.join(foreign[:3])}, and no capture"
        raise UserError("out", found, "a folder of its own", "give another out=<folder>")


def check_shots(footage: Clip) -> None:
    """
    Raises:
        UserError: it is cut so often that no second of it can be used.
    """
    lasting = sum(b - a for a, b in footage.shots if b - a >= assemble.SHORT_SHOT * footage.fps)
    if lasting < SEEN * footage.fps:
        found = f"{len(footage.shots) - 1} cuts in {footage.frames} frames"
        expected = f"shots of {assemble.SHORT_SHOT} s or longer, 1 s in all"
        raise UserError("video", found, expected, "give another clip, or start and end")


def check_person(keypoints: Keypoints, footage: Clip) -> None:
    """
    Raises:
        UserError: nobody's face, or more than one person's, in too many frames.
    """
    seen = keypoints.faces > 0
    if seen.sum() < min(SEEN * footage.fps, footage.frames):
        found = "no face" if not seen.any() else f"a face in {seen.sum()} of {footage.frames} frames only"
        raise UserError("video", found, "one person who faces the camera", "give another clip, or crop or start, end")
    several = int((keypoints.faces > 1).sum())
    if several > (1 - ALONE) * seen.sum():
        found = f"{keypoints.faces.max()} people in {several} of {footage.frames} frames"
        raise UserError("video", found, "one person", "cut one of them out: crop=x0,y0,x1,y1")


def chosen_offset(wanted: float | None, measured: Offset) -> float:
    """Frames by which the sound is moved earlier: as wanted, or as measured where that is sure."""
    if wanted is not None:
        return wanted
    return measured.frames if measured.frames is not None and measured.sure else 0.0


def _split(job: Job, keypoints: Keypoints, footage: Clip) -> assemble.Split:
    """As published, or the paper's rule."""
    if job.imported is not None:
        return job.imported.split.without(assemble.unusable_frames(keypoints, footage.shots, footage.fps))
    split = assemble.split_frames(keypoints, footage.shots, footage.fps, job.config.heldout, job.config.stride)
    return split if job.moved is None else split.without(job.moved.invalid)


def _ingest(job: Job) -> str:
    config = job.config
    cutout = Cutout(config.start, config.end, config.fps, config.crop, config.long_side)
    options = asdict(cutout) | {"sound": config.sound}
    stage = Stage("ingest", clip.INGEST_VERSION, options, {"video": sha256(job.video)})
    need = config.sound == "required"
    run_stage(job.work, stage, lambda folder: clip.ingest(job.video, cutout, need, folder, job.progress))
    return stage.key


def _landmarks(job: Job, footage: Clip, ingested: str) -> str:
    source = _source(job, footage)
    given = job.path(job.config.landmarks_path)
    inputs = {"ingest": ingested} | ({} if given is None else {"files": _fingerprint(given, "landmarks_path")})
    stage = Stage("landmarks", source.version, {"source": source.name}, inputs)
    run_stage(job.work, stage, lambda folder: observe(source, footage, folder, job.progress))
    return stage.key


def _source(job: Job, footage: Clip) -> LandmarkSource:
    given = job.path(job.config.landmarks_path)
    if given is None:
        return MediaPipe()
    crop = footage.cutout.crop
    origin = None if crop is None else (float(crop[0]), float(crop[1]))
    source = OpenPose if job.config.landmarks == "openpose" else OpenFace
    return source(given, origin, footage.picture_size, footage.clocks)


def _matte_and_align(job: Job, footage: Clip, seen: Observed, body: Body, keys: dict[str, str]) -> None:
    """Side by side: the mattes are needed when the motion is known, to follow the surface."""
    ready = job.path(job.config.mattes)
    inputs = {"landmarks": keys["landmarks"]} | ({} if ready is None else {"files": _fingerprint(ready, "mattes")})
    stage = Stage("matte", matting.MATTING_VERSION, {}, inputs)
    keys["matte"] = stage.key

    def make(progress: ProgressFunction) -> None:
        run_stage(job.work, stage, lambda folder: matting.make_mattes(footage, seen, ready, folder, progress))

    with Beside(make, job.progress) as mattes:
        keys["align"] = _align(job, footage, seen, body, keys, mattes)
        mattes.wait()


def _align(job: Job, footage: Clip, seen: Observed, body: Body, keys: dict[str, str], mattes: Beside) -> str:
    options = AlignmentOptions(smooth=job.config.smooth)
    inputs = {"landmarks": keys["landmarks"], "matte": keys["matte"], "body": body.checksum}
    stage = Stage("align", ALIGN_VERSION, asdict(options), inputs)

    def picture(index: int) -> UInt8[ndarray, "H W 3"]:
        return matting.on_white(job.work / "matte", index)

    def make(folder: Path) -> None:
        steadied = _steadied(footage, seen, mattes.watched)
        steadied.keypoints.save(folder / STEADIED)
        found = alignment.align(
            steadied.keypoints,
            footage.shots,
            footage.fps,
            footage.width,
            footage.height,
            body,
            options,
            mattes.watched,
            folder,
            steadied.followed,
            picture,
            mattes.wait,
        )
        save_alignment(found, folder / "alignment.pt")

    run_stage(job.work, stage, make)
    return stage.key


def _steadied(footage: Clip, seen: Observed, progress: ProgressFunction) -> Steadied:
    """The keypoints with the trunk's carried by the clothes, where a mask says which pixels are clothes."""
    if seen.masks is None:
        return Steadied(seen.keypoints, np.zeros(len(seen.keypoints), bool))

    coarse = seen.coarse(footage.width, footage.height)

    def mask(index: int) -> Float[ndarray, "H W"]:
        return coarse(index) / 255.0

    return steady_trunk(seen.keypoints, footage.shots, footage.frame, mask, progress)


def _warn(believed: Mapping[str, Any]) -> None:
    """What a reader of files made elsewhere had to guess."""
    for line in believed.get("warnings", []):
        print(f"warning: {line}", file=sys.stderr, flush=True)


def _believed_mattes(job: Job) -> dict[str, Any]:
    """How mattes made elsewhere were read, where they were."""
    file = job.work / "matte" / matting.READY
    believed = read_json(file, "remove work/matte: it is made anew") if file.is_file() else {"source": "landmarks"}
    _warn(believed)
    return believed


def _assemble(
    job: Job, parts: assemble.Parts, measured: Offset, believed: dict[str, Any], keys: dict[str, str]
) -> None:
    """The capture itself. It is made in the work folder and then moved to its place."""
    options = {"name": parts.name, "offset": parts.offset, "split": asdict(parts.split)}
    made = {} if job.moved is None else {"moved": job.moved.key}
    stage = Stage("capture", assemble.ASSEMBLE_VERSION, options, keys | made)
    if assemble.published(job.folder, stage.key):
        return
    if not (job.work / stage.name / assemble.MANIFEST).is_file():
        remove(job.work / stage.name)  # it was published, and the capture deleted since
    provenance = {
        "kind": "recording",
        "made_by": f"talkingavatar {__version__}",
        "key": stage.key,
        "video": job.video.name,
        "cutout": asdict(parts.clip.cutout),
        "offset": asdict(measured) | {"corrected_frames": parts.offset},
        **believed,
        **({} if job.moved is None else job.moved.told),
        **({} if job.imported is None else job.imported.told),
    }
    staged = run_stage(job.work, stage, lambda folder: assemble.write_capture(parts, provenance, folder))
    assemble.publish(job.folder, staged)


def _overlay(job: Job, parts: assemble.Parts, aligned: str) -> None:
    """The fitted body over every frame, to look at."""
    stage = Stage("overlay", OVERLAY_VERSION, {"offset": parts.offset}, {"align": aligned})

    def make(folder: Path) -> None:
        advance = job.progress("overlay", parts.clip.frames)
        sound = shifted(parts.clip.audio, parts.offset, parts.clip.fps)
        with job.video_writer(folder / "overlay.mp4", parts.clip.fps, sound) as writer:
            for picture in made_ahead(overlays(parts, list(range(parts.clip.frames)))):
                writer.write(picture)
                advance()

    run_stage(job.work, stage, make)


def _fingerprint(path: Path, key: str) -> str:
    """Of a file, or of names, sizes and times of a folder's files.

    Raises:
        UserError: there is neither.
    """
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        raise UserError(key, f"{path}: nothing there", "a file or a folder", "correct the path")
    files = sorted(f for f in path.iterdir() if f.is_file())
    told = repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files])
    return hashlib.sha256(told.encode()).hexdigest()
