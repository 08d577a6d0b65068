"""AD-NeRF's layout, which RAD-NeRF, ER-NeRF, TalkingGaussian, GaussianTalker and SyncTalk share: one person's head.

A folder with `transforms_{train,val}.json` (a head's pose a picture, as a camera's round a head that stands still),
`gt_imgs/` (the pictures before a still background, `bc.jpg`), `ori_imgs/` (as filmed, with 68 landmarks in `.lms`),
`parsing/` (parts by colour: white is background), `torso_imgs/`, `aud.wav`, `aud*.npy` and OpenFace's `au.csv`. What of
them is there is taken; what was guessed is told. Loaders pick a picture, a sound window and a row of `au.csv` by the
number of the picture, and so does this.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from talkingavatar.audio.reading import read_sound
from talkingavatar.body.action_units import INTENSITY, NAMES
from talkingavatar.data.capture import RATE, Span, Table
from talkingavatar.data.importers.cameras import OPENGL_TO_OPENCV, pinhole, rigid
from talkingavatar.data.importers.clip import (
    COMPLETE,
    CONTOUR,
    INNER_FACE,
    Coverage,
    ImportedClip,
    Options,
    Picture,
    Split,
    default_split,
    joined_sound,
    read_picture,
    shots_of,
)
from talkingavatar.data.stated import Stated, read_json
from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import read_npy
from talkingavatar.runtime.readers import Unreadable

FPS = 25.0  # all of them ask for it
PICTURES = ("gt_imgs", "com_imgs", "ori_imgs")  # before the still background, AD-NeRF's name for it, as filmed
SUFFIXES = (".jpg", ".png", ".jpeg")
PARTS = {"train": ("transforms_train.json",), "test": ("transforms_val.json", "transforms_test.json")}
FOCALS = ("focal_len", "focal_length", "fl_x")
WINDOWS = ("aud_ds.npy", "aud_eo.npy", "aud_hu.npy", "aud_ave.npy", "aud.npy")
CLOSE = 2  # rows of a table that may be missing at its end: the last one stands for them, as their loaders do
LENGTH = 0.02  # share by which sound and pictures may differ in length and count as of one rate


@dataclass(frozen=True)
class Pose:
    """An entry of transforms."""

    number: int  # of the picture
    to_world: Float[ndarray, "4 4"]
    part: str


@dataclass(frozen=True)
class Layout:
    """What the folder has: poses in the order of the pictures' numbers, of those that have a picture."""

    root: Path
    kind: str  # the folder of pictures
    pictures: dict[int, Path]
    poses: list[Pose]
    K: Float[ndarray, "3 3"]
    told: list[str]

    @property
    def numbers(self) -> list[int]:
        return [pose.number for pose in self.poses]


def read_adnerf(options: Options) -> ImportedClip:
    """One person's folder.

    Raises:
        UserError: no transforms or pictures, or a part is malformed.
    """
    layout = _layout(options.path)
    numbers, told, fps = layout.numbers, layout.told, options.fps or FPS
    runs = [run for run in np.split(np.array(numbers), np.flatnonzero(np.diff(numbers) != 1) + 1) if len(run)]
    shots = shots_of([len(run) for run in runs])
    if len(runs) > 1:
        told.append(f"pictures are missing between others: {len(runs)} shots")
    parsing = {number: layout.root / "parsing" / f"{number}.png" for number in numbers}
    masked = [number for number in numbers if parsing[number].is_file()]
    if not masked:
        told.append("no parsing/: the whole picture is taken for the person")

    def picture(index: int, view: str) -> tuple[Picture, Coverage]:
        number = numbers[index]
        image = read_picture(layout.pictures[number])
        if not masked:
            return image, np.full(image.shape[:2], 255, np.uint8)
        if not parsing[number].is_file():
            return image, np.zeros(image.shape[:2], np.uint8)
        return image, np.where((read_picture(parsing[number]) == 255).all(-1), 0, 255).astype(np.uint8)

    keypoints, unseen = _landmarks(layout)
    units = _action_units(layout)
    sound = _sound(layout, options.audio, runs, shots, fps)
    windows = _windows(layout)
    unmasked = [i for i, number in enumerate(numbers) if masked and not parsing[number].is_file()]
    if unmasked:
        told.append(f"{len(unmasked)} frames have no parsing (the first: {numbers[unmasked[0]]}): unusable")
    viewmats = np.stack([np.linalg.inv(pose.to_world @ OPENGL_TO_OPENCV) for pose in layout.poses])
    background = layout.root / "bc.jpg"
    return ImportedClip(
        name=options.name or layout.root.resolve().name,
        fps=fps,
        frames=len(numbers),
        picture=picture,
        sound=sound,
        viewmats=viewmats[None],
        Ks=np.broadcast_to(layout.K, (1, len(viewmats), 3, 3)),
        split=_split(options, layout),
        keypoints=keypoints,
        shots=shots,
        unusable=unmasked,
        tables={} if units is None else {"aus": units},
        extra=windows,
        background=read_picture(background) if background.is_file() else None,
        warnings=told,
        provenance={
            "format": "adnerf",
            "source": str(layout.root),
            "pictures": layout.kind,
            "numbers": [numbers[0], numbers[-1]],
            "cameras": "OpenGL axes; the head stands still and the camera moves; about metres, as their tracker says",
            "tracked": "no: preprocess fits a rig to these pictures",
            "rate": f"{fps:g}, {'given' if options.fps else 'as all of them ask for'}",
            "masks": "parsing: what is not white" if masked else "none",
            "landmarks": f"of {len(numbers) - unseen} frames",
            "windows": sorted(windows),
            "evaluation": "all of val; ER-NeRF looks at its first 100 frames while it trains, at all in the end",
        },
    )


def _layout(root: Path) -> Layout:
    """
    Raises:
        UserError: it has no transforms, or no picture of any entry.
    """
    told: list[str] = []
    files = {part: next((root / n for n in names if (root / n).is_file()), None) for part, names in PARTS.items()}
    if files["train"] is None:
        found = f"{root}: no {PARTS['train'][0]}"
        raise UserError("path", found, "a folder as AD-NeRF's process_data.py makes it", "give the person's folder")
    stated = {part: Stated(str(file), read_json(file, COMPLETE), COMPLETE) for part, file in files.items() if file}
    if "test" not in stated:
        told.append("no transforms_val.json: a tail is held out")
    kind = next((name for name in PICTURES if (root / name).is_dir()), "")
    if not kind:
        raise UserError("path", f"{root}: none of {', '.join(PICTURES)}", "a folder of pictures", COMPLETE)
    if kind != PICTURES[0]:
        told.append(f"no {PICTURES[0]}/: {kind}/ is taken, which those methods were not compared with")
    pictures = {int(f.stem): f for f in (root / kind).iterdir() if f.stem.isdecimal() and f.suffix.lower() in SUFFIXES}
    poses = _poses(stated, pictures, told, f"{root / kind}")
    K = _intrinsics(stated["train"], read_picture(pictures[poses[0].number]).shape[:2], told)
    _tell_shifted(root, pictures, poses, told)
    return Layout(root, kind, pictures, poses, K, told)


def _poses(stated: dict[str, Stated], pictures: dict[int, Path], told: list[str], where: str) -> list[Pose]:
    """By the number of the picture; one that is in both parts is held out only.

    Raises:
        UserError: an entry is malformed, or none has a picture.
    """
    found: dict[int, Pose] = {}
    both, twice, unsorted, missing = 0, 0, False, 0
    for part, content in stated.items():
        last = -1
        for entry in content.of("frames").entries():
            number = entry.of("img_id").whole(0, 10**9)
            unsorted |= number < last
            last = number
            if number not in pictures:
                missing += 1
                continue
            twice += number in found and found[number].part == part
            both += number in found and found[number].part != part
            found[number] = Pose(number, rigid(entry.of("transform_matrix")), part)
    if not found:
        raise UserError("path", f"{where}: no picture of any entry of transforms", "<img_id>.jpg", COMPLETE)
    told += ["entries are not in the order of their pictures: sorted by img_id"] * unsorted
    told += [f"{missing} entries have no picture: left out, as their loaders do"] * bool(missing)
    told += [f"{twice} pictures have several entries: the last counts"] * bool(twice)
    told += [f"{both} pictures are in both parts: held out only"] * bool(both)
    return [found[number] for number in sorted(found)]


def _intrinsics(stated: Stated, shape: tuple[int, ...], told: list[str]) -> Float[ndarray, "3 3"]:
    """Of the pictures as they are; the file's are of pictures twice as large as its centre."""
    key = next((key for key in FOCALS if stated.has(key)), FOCALS[0])
    focal = stated.of(key).number(1e-3)
    height, width = shape
    cx, cy = (stated.of(c).number() if stated.has(c) else side / 2 for c, side in (("cx", width), ("cy", height)))
    sizes = (int(cx) * 2, int(cy) * 2)
    if max(abs(sizes[0] - width), abs(sizes[1] - height)) <= 1:
        return pinhole(focal, focal, cx, cy)
    told.append(f"transforms are of {sizes[0]}x{sizes[1]}, pictures of {width}x{height}: the camera is scaled")
    x, y = width / sizes[0], height / sizes[1]
    return pinhole(focal * x, focal * y, cx * x, cy * y)


def _tell_shifted(root: Path, pictures: dict[int, Path], poses: list[Pose], told: list[str]) -> None:
    """Their tracker passes over pictures without landmarks, and (but for AD-NeRF's) numbers poses without them."""
    marks = {int(file.stem) for file in (root / "ori_imgs").glob("*.lms") if file.stem.isdecimal()}
    gone = sorted(set(range(max(pictures) + 1)) & set(pictures) - marks) if marks else []
    numbers = [pose.number for pose in poses]
    if gone and len(poses) == len(marks) and numbers == list(range(len(numbers))):
        told.append(
            f"{len(gone)} pictures have no landmarks (the first: {gone[0]}), and poses are numbered without them: "
            "from there on a pose may belong to a later picture"
        )


def _landmarks(layout: Layout) -> tuple[Shaped[ndarray, "T 135 3"] | None, int]:
    """68 points of `ori_imgs/<number>.lms` in SHOW's order, and how many frames have none."""
    points, unseen = np.zeros((len(layout.poses), 135, 3)), 0
    for i, number in enumerate(layout.numbers):
        file = layout.root / "ori_imgs" / f"{number}.lms"
        if not file.is_file():
            unseen += 1
            continue
        marks = _numbers_of(file)
        points[i, INNER_FACE, :2], points[i, CONTOUR, :2] = marks[17:], marks[:17]
        points[i, INNER_FACE, 2] = points[i, CONTOUR, 2] = 1.0
    if unseen:
        layout.told.append(f"{unseen} of {len(points)} frames have no landmarks (.lms)")
    return (None if unseen == len(points) else points), unseen


def _numbers_of(file: Path) -> Float[ndarray, "68 2"]:
    """
    Raises:
        UserError: not two numbers of each of 68 points.
    """
    try:
        found = np.array([[float(word) for word in line.split()] for line in file.read_text().splitlines() if line])
    except ValueError as error:
        raise Unreadable(str(file), "no numbers", "68 rows of x and y", COMPLETE) from error
    if found.shape != (68, 2) or not np.isfinite(found).all():
        raise UserError(str(file), f"numbers of shape {found.shape}", "68 rows of x and y", COMPLETE)
    return found


def _action_units(layout: Layout) -> Table | None:
    """OpenFace's 17 intensities: a picture has the row of its number, whatever the column `frame` says."""
    file = layout.root / "au.csv"
    if not file.is_file():
        layout.told.append("no au.csv: no action units")
        return None
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    names = [name.strip() for name in lines[0].split(",")] if lines else []
    columns = [f"{name}_r" for name in NAMES]
    if missing := [name for name in columns if name not in names]:
        raise UserError(str(file), f"no column {missing[0]}", "OpenFace's CSV", COMPLETE)
    last = max(layout.numbers)
    if len(lines) - 1 + CLOSE <= last:
        found = f"au.csv has {len(lines) - 1} rows, pictures go to {last}: another rate; left out"
        layout.told.append(found)
        return None
    wanted = [names.index(name) for name in columns]
    try:
        rows = np.array([[float(line.split(",")[place]) for place in wanted] for line in lines[1:]])
    except (ValueError, IndexError) as error:
        raise UserError(str(file), "a row that is not of numbers", "OpenFace's CSV", COMPLETE) from error
    if len(rows) <= last:
        layout.told.append(f"au.csv ends {last + 1 - len(rows)} rows early: the last stands for them")
    chosen = rows[np.minimum(layout.numbers, len(rows) - 1)]
    if unseen := int((~np.isfinite(chosen)).any(1).sum()):
        layout.told.append(f"au.csv has no numbers in {unseen} rows: 0")
    return Table(list(NAMES), np.clip(np.nan_to_num(chosen), 0, INTENSITY).astype(np.float32), INTENSITY)


def _sound(
    layout: Layout, given: Path | None, runs: list[Int[ndarray, " _"]], shots: list[tuple[int, int]], fps: float
) -> Float[ndarray, " N"]:
    """What is heard at the pictures' numbers."""
    file = given or next(
        (f for f in (layout.root / "aud.wav", *sorted(layout.root.glob("*.wav"))) if f.is_file()), None
    )
    if file is None:
        layout.told.append("no aud.wav: silence; audio= names a sound")
        return joined_sound([np.zeros(0, np.float32) for _ in runs], shots, fps)
    samples = read_sound(file, RATE, str(file))
    seconds, pictures = len(samples) / RATE, (max(layout.pictures) + 1) / fps
    if abs(seconds - pictures) > LENGTH * pictures + 0.5:
        layout.told.append(
            f"{file.name} lasts {seconds:.1f} s, pictures {pictures:.1f} s at {fps:g}: fps= tells a rate"
        )
    return joined_sound([samples[round(int(run[0]) / fps * RATE) :] for run in runs], shots, fps)


def _windows(layout: Layout) -> dict[str, ndarray]:
    """Published sound windows of each frame, for `audio=deepspeech audio.path=<capture>/<name>`."""
    found = {}
    for name in WINDOWS:
        if not (layout.root / name).is_file():
            continue
        windows = read_npy(layout.root / name, COMPLETE)
        if windows.ndim != 3 or windows.shape[1] != 16 or windows.dtype.kind != "f" or not len(windows):
            layout.told.append(f"{name}: windows of shape {windows.shape[1:]}, not 16 by features: left out")
            continue
        short = max(layout.numbers) + 1 - len(windows)
        if short > 0:
            layout.told.append(f"{name} ends {short} windows early: the last stands for them, as in their loaders")
        found[name] = windows[np.minimum(layout.numbers, len(windows) - 1)].astype(np.float32)
    return found


def _split(options: Options, layout: Layout) -> Split:
    """The published parts, unless the user says otherwise."""
    parts: dict[str, list[int]] = {"train": [], "test": []}
    for i, pose in enumerate(layout.poses):
        parts[pose.part].append(i)
    if options.train is not None or options.test is not None or not parts["test"] or not parts["train"]:
        return default_split(options, len(layout.poses), 1 / 11, 1)
    return _spans(parts["train"]), _spans(parts["test"])


def _spans(frames: list[int]) -> list[Span]:
    edges = [0, *(i for i, (a, b) in enumerate(pairwise(frames), 1) if b != a + 1), len(frames)]
    return [Span(frames[a], frames[b - 1] + 1) for a, b in pairwise(edges)]
