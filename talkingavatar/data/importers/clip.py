"""What every importer brings its dataset into, and how that becomes a capture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.data.capture import FRONT, RATE, REGIONS, CaptureWriter, Manifest, Model, Span, Table, paper_split
from talkingavatar.data.importers.clocks import Clocks
from talkingavatar.errors import UserError
from talkingavatar.runtime import arrays
from talkingavatar.runtime.arrays import damage_told
from talkingavatar.runtime.making import making

Picture = UInt8[ndarray, "H W 3"]
Coverage = UInt8[ndarray, "H W"]
Split = tuple[list[Span], list[Span]]  # trained on, held out
COMPLETE = "complete the dataset"
UNTRACKED = "none: not tracked with this model"  # stands for a checksum, so that no fit takes the table for real
JOINTS = {"smplx": 55, "flame": 5}
# Columns of the 135 keypoints of SHOW: body 25, hands 21 each, inner face 51, contour 17.
LEFT_HAND, RIGHT_HAND, INNER_FACE, CONTOUR = slice(25, 46), slice(46, 67), slice(67, 118), slice(118, 135)
HELD_OUT = 0.2  # share of what was recorded that is held out, where the dataset does not say
MOUTH = slice(48, 68)  # of the 68 face landmarks
MARGINS = {"head": (0.2, 0.55, 0.2, 0.08), "mouth": (0.25,) * 4, "left_hand": (0.15,) * 4, "right_hand": (0.15,) * 4}


@dataclass(frozen=True)
class Options:
    """What the user says about a dataset; each importer reads what concerns it."""

    path: Path
    name: str | None = None
    fps: float | None = None  # where the dataset does not tell
    width: int | None = None  # pictures are scaled to it
    camera: str | None = None  # which of several; where all are taken, the first view
    test_views: tuple[str, ...] | None = None  # cameras held out
    sequence: str | None = None  # of several; some of them with commas between
    audio: Path | None = None  # sound kept apart from the dataset
    body: Path | None = None  # licensed SMPL-X file
    layout: Path | None = None  # YAML that describes a layout
    train: tuple[int, int, int] | None = None  # first, last (inclusive, as published), step
    test: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class ImportedClip:
    """A clip of T frames in our conventions, seen by V cameras."""

    name: str
    fps: float
    frames: int
    picture: Callable[[int, str], tuple[Picture, Coverage]]  # of a view: the frame as published, the subject's coverage
    sound: Float[ndarray, " N"]  # 16 kHz mono
    viewmats: Float[ndarray, "V C 4 4"]  # C is 1 or T; world to camera, OpenCV axes
    Ks: Float[ndarray, "V C 3 3"]  # pixels of the published pictures
    split: Split
    views: list[str] = field(default_factory=lambda: [FRONT])
    test_views: list[str] = field(default_factory=list)
    parameters: dict[Model, dict[str, ndarray]] = field(default_factory=dict)  # as published
    body: dict[str, str] = field(default_factory=dict)
    keypoints: Shaped[ndarray, "T 135 3"] | None = None  # in the first view, as the boxes
    boxes: dict[str, Float[ndarray, "T 4"]] = field(default_factory=dict)  # where known better than by keypoints
    shots: list[tuple[int, int]] = field(default_factory=list)
    unusable: list[int] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    extra: dict[str, ndarray] = field(default_factory=dict)  # further arrays, by file name
    background: Picture | None = None  # the first view's scene without the person
    provenance: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)  # what was guessed


def write_clip(clip: ImportedClip, folder: Path, width: int | None, progress: Callable[[str, int], Callable]) -> None:
    """Write the capture; it appears when it is whole.

    Raises:
        UserError: something is there already, or a picture cannot be read.
    """
    if folder.exists():
        raise UserError("out", f"{folder}, which exists", "a folder to be made", "remove it, or give another out=")
    _check(clip)
    with making(folder.parent, "out", "give another out=") as scratch:
        made = scratch / "capture"
        writer = CaptureWriter(made, clip.views)
        size, scales = _write_pictures(clip, writer, width, progress)
        writer.sound(clip.sound)
        Ks = np.stack([np.diag([*scale, 1.0]) @ K for scale, K in zip(scales, clip.Ks, strict=True)])
        writer.cameras(clip.viewmats, Ks)
        _write_parameters(clip, writer)
        for title, table in clip.tables.items():
            writer.table(title, table)
        _write_landmarks(clip, writer, scales[0], size)
        for file, values in clip.extra.items():
            np.save(made / file, values)
        if clip.background is not None:
            Image.fromarray(clip.background).resize(size, Image.Resampling.BOX).save(made / "background.png")
        writer.finish(_manifest(clip, size))
        made.rename(folder)


def default_split(options: Options, frames: int, heldout: float, stride: int) -> Split:
    """What the user says (published ends are inclusive), else the paper's rule.

    A frame named in both parts, as the published split of Fah does, is held out only.

    Raises:
        UserError: frames that there are not.
    """
    if options.train is None and options.test is None:
        train, test = paper_split(frames, heldout, stride)
        return [train], [test]
    if options.train is None or options.test is None:
        raise UserError("train, test", "one of them", "both, or none", "give train=0-1500:4 test=1500-1799")
    (first, last, step), (test_first, test_last, test_step) = options.train, options.test
    if not 0 <= first <= last < frames or not 0 <= test_first <= test_last < frames:
        raise UserError("train, test", f"{options.train}, {options.test}", f"frames of 0 to {frames - 1}", "correct it")
    stop = min(last + 1, test_first) if first < test_first else last + 1
    return [Span(first, stop, step)], [Span(test_first, test_last + 1, test_step)]


def sentence_split(options: Options, shots: list[tuple[int, int]], sentences: list[str]) -> Split:
    """Whole sentences are held out where several are told apart: the last fifth, at least one; else a tail.

    Args:
        sentences: what is said in each shot; a sentence that is held out is not heard in training at all.

    Raises:
        UserError: as `default_split`.
    """
    several = sorted(set(sentences))
    if len(several) < 2 or options.train is not None or options.test is not None:
        return default_split(options, shots[-1][1], HELD_OUT, 1)
    held = several[-max(1, round(HELD_OUT * len(several))) :]
    train, test = ([Span(*shot) for shot, sentence in zip(shots, sentences, strict=True) if (sentence in held) == out]
                   for out in (False, True))  # fmt: skip
    return train, test


def held_out_views(options: Options, views: list[str]) -> list[str]:
    """Those that the user names, else the last of several cameras; the first is trained on.

    Raises:
        UserError: there is no such view, or it is the first.
    """
    if options.test_views is None:
        return views[1:][-1:]
    if unknown := set(options.test_views) - set(views[1:]):
        expected = f"some of {', '.join(views[1:]) or 'no further cameras'}"
        raise UserError("test_views", ", ".join(sorted(unknown)), expected, "correct it")
    return list(options.test_views)


def shots_of(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Start and stop of recordings one behind the other."""
    return list(pairwise([0, *accumulate(lengths)]))


def joined_sound(
    recordings: Sequence[Float[ndarray, "..."]], shots: list[tuple[int, int]], fps: float
) -> Float[ndarray, " N"]:
    """The sound of shots one behind the other, each as long as its pictures: cut, or silent at its end."""
    parts = []
    for samples, (start, stop) in zip(recordings, shots, strict=True):
        length = round(stop / fps * RATE) - round(start / fps * RATE)
        parts.append(np.pad(samples[:length], (0, max(0, length - len(samples)))))
    return np.concatenate(parts)


def fitted_sound(samples: Float[ndarray, " N"], frames: int, fps: float) -> Float[ndarray, " M"]:
    """As long as the picture: cut, or silent at its end."""
    length = round(frames / fps * RATE)
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def read_picture(file: Path) -> Picture:
    """RGB as stored in the file (readers that give BGR turn it round in memory).

    Raises:
        UserError: absent or damaged.
    """
    with damage_told(file, "a picture", COMPLETE), Image.open(file) as image:
        if image.mode.startswith("I;16"):  # sixteen bits: Pillow would cut them off at 255
            return np.repeat((np.array(image)[..., None] / 257).round().astype(np.uint8), 3, axis=2)
        return np.array(image.convert("RGB"))


def read_npz(file: Path, keys: Sequence[str] = ()) -> dict[str, ndarray]:
    """All arrays of a file.

    Raises:
        UserError: absent or damaged, or without one of `keys`.
    """
    return arrays.read_npz(file, keys, COMPLETE)


def _check(clip: ImportedClip) -> None:
    """Before a picture is written: nothing that the capture would be refused for when it is opened.

    Raises:
        UserError: a number is not finite, or no frame is left to train on or to hold out.
    """
    source = str(clip.provenance.get("source", clip.name))
    numbers = {"cameras": clip.viewmats, "intrinsics": clip.Ks, "fps": np.array(clip.fps)}
    numbers |= {f"{model} {key}": values for model, table in clip.parameters.items() for key, values in table.items()}
    for name, values in numbers.items():
        arrays.check_finite(f"{source}: {name}", np.asarray(values, np.float64), COMPLETE)
    if (clip.Ks[..., (0, 1), (0, 1)] <= 0).any():
        raise UserError(f"{source}: intrinsics", "a focal length that is not above 0", "pixels", COMPLETE)
    for part, spans in zip(("train", "test"), clip.split, strict=True):
        if not {frame for span in spans for frame in span.frames} - set(clip.unusable):
            found = f"no usable frame of {clip.frames}"
            raise UserError(f"{source}: {part}", found, "frames to train on and to hold out", "give train= and test=")


def _write_pictures(
    clip: ImportedClip, writer: CaptureWriter, width: int | None, progress: Callable[[str, int], Callable]
) -> tuple[tuple[int, int], list[tuple[float, float]]]:
    """Frames on white and mattes; the size (width, height) written, and the scale of each view in x and y."""
    advance = progress("importing", clip.frames * len(clip.views))
    source = str(clip.provenance.get("source", clip.name))
    size, scales, clocks = None, [], Clocks(clip.shots or [(0, clip.frames)])
    for view in clip.views:
        seen = False
        for index in range(clip.frames):
            picture, coverage = clip.picture(index, view)
            if picture.shape[:2] != coverage.shape:
                found = f"a mask of {coverage.shape} for a picture of {picture.shape[:2]}"
                raise UserError(f"frame {index}", found, "equal sizes", "complete the dataset")
            height, own = picture.shape[:2]
            if size is None:
                size = (own, height) if width is None else (width, round(height * width / own))
            if index == 0:
                scales.append((size[0] / own, size[1] / height))
            seen |= bool((coverage > 127).any())
            share = coverage[..., None] / 255
            on_white = np.round(picture * share + 255 * (1 - share)).astype(np.uint8)
            writer.picture(index, _resized(on_white, size), _resized(coverage, size), view)
            clocks.see(view, index, on_white)
            advance()
        if not seen:
            raise UserError(f"{source}: masks", f"nobody in any frame of view {view}", "the person's", COMPLETE)
    assert size is not None, "a clip has frames"
    clocks.check(source)
    return size, scales


def _resized(pixels: UInt8[ndarray, "..."], size: tuple[int, int]) -> UInt8[ndarray, "..."]:
    image = Image.fromarray(pixels)
    return pixels if image.size == size else np.asarray(image.resize(size, Image.Resampling.BOX))


def _write_parameters(clip: ImportedClip, writer: CaptureWriter) -> None:
    """As published. A capture always has SMPL-X's table: where it was not tracked, at rest."""
    tables = dict(clip.parameters)
    if "smplx" not in tables:
        sizes = {"betas": (10,), "expression": (clip.frames, 10), "full_pose": (clip.frames, 55, 3)}
        tables["smplx"] = {key: np.zeros(size) for key, size in (sizes | {"transl": (clip.frames, 3)}).items()}
    for model, table in tables.items():
        writer.parameters(model, table, [f"expression_{i}" for i in range(table["expression"].shape[1])])


def _write_landmarks(
    clip: ImportedClip, writer: CaptureWriter, scale: tuple[float, float], size: tuple[int, int]
) -> None:
    boxes = dict.fromkeys(REGIONS, np.full((clip.frames, 4), np.nan))
    if clip.keypoints is not None:
        points = clip.keypoints.astype(np.float32) * np.array([*scale, 1.0], np.float32)
        points[points[..., 2] <= 0, :2] = np.nan
        face = np.concatenate([points[:, CONTOUR], points[:, INNER_FACE]], 1)
        writer.landmarks(face)
        groups = (face, face[:, MOUTH], points[:, LEFT_HAND], points[:, RIGHT_HAND])
        boxes = {name: _box(group, MARGINS[name], size) for name, group in zip(REGIONS, groups, strict=True)}
    boxes |= {name: given * np.array([*scale, *scale]) for name, given in clip.boxes.items()}
    writer.regions(boxes)


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


def _manifest(clip: ImportedClip, size: tuple[int, int]) -> Manifest:
    train, test = clip.split
    absent: dict[str, str] = {} if "smplx" in clip.parameters else {"smplx": UNTRACKED}
    return Manifest(
        name=clip.name,
        fps=clip.fps,
        width=size[0],
        height=size[1],
        frames=clip.frames,
        train=train,
        test=test,
        views=clip.views,
        test_views=clip.test_views,
        body=absent | clip.body,
        provenance=clip.provenance | ({"warnings": clip.warnings} if clip.warnings else {}),
        shots=clip.shots,
        unusable=clip.unusable,
    )
