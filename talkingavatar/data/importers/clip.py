"""What every importer brings its dataset into, and how that becomes a capture."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import soundfile
from jaxtyping import Float, Shaped, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.data.capture import RATE, REGIONS, Manifest, Model, paper_split
from talkingavatar.errors import UserError

Picture = UInt8[ndarray, "H W 3"]
Coverage = UInt8[ndarray, "H W"]
Split = tuple[tuple[int, int, int], tuple[int, int, int]]
UNTRACKED = "none: not tracked with this model"  # stands for a checksum, so that no fit takes the table for real
JOINTS = {"smplx": 55, "flame": 5}
# Columns of the 135 keypoints of SHOW: body 25, hands 21 each, inner face 51, contour 17.
LEFT_HAND, RIGHT_HAND, INNER_FACE, CONTOUR = slice(25, 46), slice(46, 67), slice(67, 118), slice(118, 135)
MOUTH = slice(48, 68)  # of the 68 face landmarks
MARGINS = {"head": (0.2, 0.55, 0.2, 0.08), "mouth": (0.25,) * 4, "left_hand": (0.15,) * 4, "right_hand": (0.15,) * 4}


@dataclass(frozen=True)
class Options:
    """What the user says about a dataset; each importer reads what concerns it."""

    path: Path
    name: str | None = None
    fps: float | None = None  # where the dataset does not tell
    width: int | None = None  # pictures are scaled to it
    camera: str | None = None  # which of several
    sequence: str | None = None
    audio: Path | None = None  # sound kept apart from the dataset
    body: Path | None = None  # licensed SMPL-X file
    layout: Path | None = None  # YAML that describes a layout
    train: tuple[int, int, int] | None = None  # first, last (inclusive, as published), step
    test: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class ImportedClip:
    """A clip of T frames in our conventions."""

    name: str
    fps: float
    frames: int
    picture: Callable[[int], tuple[Picture, Coverage]]  # the frame as published, and the subject's coverage
    sound: Float[ndarray, " N"]  # 16 kHz mono
    viewmats: Float[ndarray, "C 4 4"]  # 1 or T, world to camera, OpenCV axes
    Ks: Float[ndarray, "C 3 3"]  # pixels of the published pictures
    split: Split
    tables: dict[Model, dict[str, ndarray]] = field(default_factory=dict)  # parameters as published
    body: dict[str, str] = field(default_factory=dict)
    keypoints: Shaped[ndarray, "T 135 3"] | None = None
    boxes: dict[str, Float[ndarray, "T 4"]] = field(default_factory=dict)  # where known better than by keypoints
    shots: list[tuple[int, int]] = field(default_factory=list)
    unusable: list[int] = field(default_factory=list)
    extra: dict[str, ndarray] = field(default_factory=dict)  # further arrays, by file name
    provenance: dict[str, Any] = field(default_factory=dict)


def write_clip(clip: ImportedClip, folder: Path, width: int | None, progress: Callable[[str, int], Callable]) -> None:
    """Write the capture; it appears when it is whole.

    Raises:
        UserError: something is there already, or a picture cannot be read.
    """
    if folder.exists():
        raise UserError("out", f"{folder}, which exists", "a folder to be made", "remove it, or give another out=")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".importing-") as name:
        made = Path(name) / "capture"
        made.mkdir()
        scale, size = _write_pictures(clip, made, width, progress)
        soundfile.write(made / "audio.flac", np.clip(clip.sound, -1, 1), RATE)
        Ks = np.diag([*scale, 1.0]) @ clip.Ks
        np.savez(made / "cameras.npz", viewmats=clip.viewmats, Ks=Ks)
        _write_tables(clip, made)
        _write_landmarks(clip, made, scale, size)
        for file, values in clip.extra.items():
            np.save(made / file, values)
        _write_manifest(clip, made, size)
        made.rename(folder)


def default_split(options: Options, frames: int, heldout: float, stride: int) -> Split:
    """What the user says (published ends are inclusive), else the paper's rule.

    A frame named in both parts, as the published split of Fah does, is held out only.

    Raises:
        UserError: frames that there are not.
    """
    if options.train is None and options.test is None:
        return paper_split(frames, heldout, stride)
    if options.train is None or options.test is None:
        raise UserError("train, test", "one of them", "both, or none", "give train=0-1500:4 test=1500-1799")
    (first, last, step), (test_first, test_last, test_step) = options.train, options.test
    if not 0 <= first <= last < frames or not 0 <= test_first <= test_last < frames:
        raise UserError("train, test", f"{options.train}, {options.test}", f"frames of 0 to {frames - 1}", "correct it")
    stop = min(last + 1, test_first) if first < test_first else last + 1
    return (first, stop, step), (test_first, test_last + 1, test_step)


def fitted_sound(samples: Float[ndarray, " N"], frames: int, fps: float) -> Float[ndarray, " M"]:
    """As long as the picture: cut, or silent at its end."""
    length = round(frames / fps * RATE)
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def read_picture(file: Path) -> Picture:
    """RGB as stored in the file (readers that give BGR turn it round in memory).

    Raises:
        UserError: absent or damaged.
    """
    try:
        with Image.open(file) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise UserError(str(file), f"no readable picture ({error})", "a picture", "complete the dataset") from error


def read_npz(file: Path) -> dict[str, ndarray]:
    """All arrays of a file.

    Raises:
        UserError: absent or damaged.
    """
    try:
        with np.load(file) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise UserError(str(file), f"no readable file ({error})", "an npz", "complete the dataset") from error


def _write_pictures(
    clip: ImportedClip, made: Path, width: int | None, progress: Callable[[str, int], Callable]
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Frames on white and mattes; the scale in x and y, and the size (width, height) written."""
    advance = progress("importing", clip.frames)
    size, scale = (0, 0), (1.0, 1.0)
    for kind in ("frames", "mattes"):
        (made / kind).mkdir()
    for index in range(clip.frames):
        picture, coverage = clip.picture(index)
        if picture.shape[:2] != coverage.shape:
            found = f"a mask of {coverage.shape} for a picture of {picture.shape[:2]}"
            raise UserError(f"frame {index}", found, "equal sizes", "complete the dataset")
        if index == 0:
            height, own = picture.shape[:2]
            size = (own, height) if width is None else (width, round(height * width / own))
            scale = (size[0] / own, size[1] / height)
        share = coverage[..., None] / 255
        on_white = np.round(picture * share + 255 * (1 - share)).astype(np.uint8)
        for kind, pixels in (("frames", on_white), ("mattes", coverage)):
            image = Image.fromarray(pixels)
            image = image if image.size == size else image.resize(size, Image.Resampling.BOX)
            image.save(made / kind / f"{index:06d}.png", compress_level=1)
        advance()
    return scale, size


def _write_tables(clip: ImportedClip, made: Path) -> None:
    """Parameters as published. A capture always has SMPL-X's table: where it was not tracked, at rest."""
    tables = dict(clip.tables)
    if "smplx" not in tables:
        sizes = {"betas": (10,), "expression": (clip.frames, 10), "full_pose": (clip.frames, 55, 3)}
        tables["smplx"] = {key: np.zeros(size) for key, size in (sizes | {"transl": (clip.frames, 3)}).items()}
    for model, table in tables.items():
        names = [f"expression_{i}" for i in range(table["expression"].shape[1])]
        arrays = {key: np.asarray(value, np.float32) for key, value in table.items()}
        np.savez(made / f"{model}.npz", allow_pickle=False, expression_names=np.array(names), **arrays)


def _write_landmarks(clip: ImportedClip, made: Path, scale: tuple[float, float], size: tuple[int, int]) -> None:
    boxes = dict.fromkeys(REGIONS, np.full((clip.frames, 4), np.nan))
    if clip.keypoints is not None:
        points = clip.keypoints.astype(np.float32) * np.array([*scale, 1.0], np.float32)
        points[points[..., 2] <= 0, :2] = np.nan
        face = np.concatenate([points[:, CONTOUR], points[:, INNER_FACE]], 1)
        np.savez(made / "landmarks.npz", points=face)
        groups = (face, face[:, MOUTH], points[:, LEFT_HAND], points[:, RIGHT_HAND])
        boxes = {name: _box(group, MARGINS[name], size) for name, group in zip(REGIONS, groups, strict=True)}
    boxes |= {name: given * np.array([*scale, *scale]) for name, given in clip.boxes.items()}
    np.savez(made / "regions.npz", allow_pickle=False, **boxes)


def _box(points: Shaped[ndarray, "T P 3"], margins: tuple[float, ...], size: tuple[int, int]) -> Float[ndarray, "T 4"]:
    """x0 y0 x1 y1 round the points that were seen, grown by shares of its size; NaN where fewer than three were."""
    boxes = np.full((len(points), 4), np.nan)
    for t, row in enumerate(points):
        seen = row[np.isfinite(row[:, 0]), :2]
        if len(seen) >= 3:
            low, high = seen.min(0), seen.max(0)
            extent = np.maximum(high - low, 1)
            low, high = low - np.array(margins[:2]) * extent, high + np.array(margins[2:]) * extent
            boxes[t] = np.concatenate([np.clip(low, 0, size), np.clip(high, 0, size)])
    return boxes


def _write_manifest(clip: ImportedClip, made: Path, size: tuple[int, int]) -> None:
    train, test = clip.split
    absent: dict[str, str] = {} if "smplx" in clip.tables else {"smplx": UNTRACKED}
    Manifest(
        name=clip.name,
        fps=clip.fps,
        width=size[0],
        height=size[1],
        frames=clip.frames,
        train=train,
        test=test,
        body=absent | clip.body,
        provenance=clip.provenance,
        shots=clip.shots,
        unusable=clip.unusable,
    ).write(made)
