"""The released TalkingAvatar (THGS) layout: one folder a subject, clips of ten seconds, one optimised SMPL-X track.

Where the release's README and loader differ, both are read; what the loader gets wrong (masks by any value above 0, a
frame in both parts, other folders taken for clips) is not repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from talkingavatar.audio.reading import read_sound
from talkingavatar.data.capture import RATE, Span
from talkingavatar.data.importers.cameras import GOOD_PX, Reading, choose_reading, pinhole
from talkingavatar.data.importers.clip import (
    COMPLETE,
    Coverage,
    ImportedClip,
    Options,
    Picture,
    Split,
    default_split,
    joined_sound,
    read_npz,
    read_picture,
    shots_of,
)
from talkingavatar.data.importers.poses import smplx_full_pose
from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import check_array, read_npy

FPS = 30.0
MASK_FOLDERS = ("parsing_full_body", "parsing")  # the loader's name, the README's
THRESHOLD = 127  # JPEG masks ring
MOUTH_LABELS = (11, 12, 13)  # mouth, upper lip, lower lip, in CelebAMask-HQ's numbering
HELD_OUT = 600 / 2100  # the paper trains on 1,500 frames and tests on 600
PUBLISHED = {"fah": ((0, 1500, 4), (1500, 1799, 1))}  # train.yaml; the ends are inclusive
PELVIS = np.array([0.0, -0.35, 0.0])  # SMPL-X's root joint at rest, to 2 cm
WINDOWS_PER_SECOND = 25  # of aud_eo.npy
MID_HIP = 8  # of the keypoints


@dataclass(frozen=True)
class Clip:
    """One folder with pictures."""

    folder: Path
    pictures: list[Path]
    masks: dict[int, Path]  # by number
    face_masks: dict[int, Path]


def read_thgs(options: Options) -> ImportedClip:
    """A subject's folder.

    Raises:
        UserError: a file is missing or of another form, or the camera fits in neither sign.
    """
    root, fps = options.path, options.fps or FPS
    clips = find_clips(root)
    file = root / "poses_optimized.npz"
    poses = read_npz(file, ("transl", "betas", "expression"))
    full_pose = smplx_full_pose(poses, options.body, str(file))
    transl, betas, expression = _rows(poses, file)
    lengths = [len(clip.pictures) for clip in clips]
    frames = min(sum(lengths), len(full_pose), len(transl), len(expression))
    pictures = [(clip, file) for clip in clips for file in clip.pictures][:frames]
    keypoints = _keypoints(clips, frames)
    transl = transl[:frames]
    height, width = read_picture(pictures[0][1]).shape[:2]
    K, camera = _camera(root, (width, height), transl, keypoints)
    taken = np.diff(np.minimum([0, *accumulate(lengths)], frames)).tolist()
    used = [clip for clip, length in zip(clips, taken, strict=True) if length]
    shots = shots_of([length for length in taken if length])

    def picture(index: int, view: str) -> tuple[Picture, Coverage]:
        clip, file = pictures[index]
        image = read_picture(file)
        mask = clip.masks.get(number(file))
        # Their helper makes a black mask where there is none: nobody. Such frames are not used.
        covered = np.zeros(image.shape[:2], bool) if mask is None else read_picture(mask)[..., 2] > THRESHOLD
        return image, np.where(covered, np.uint8(255), np.uint8(0))

    boxes = _mouth_boxes(pictures)
    return ImportedClip(
        name=options.name or root.name,
        fps=fps,
        frames=frames,
        picture=picture,
        sound=joined_sound([_sound(clip) for clip in used], shots, fps),
        viewmats=camera.viewmat[None, None],
        Ks=K[None, None],
        split=_split(options, root.name, frames),
        parameters={
            "smplx": {
                "betas": betas,
                "expression": expression[:frames],
                "full_pose": full_pose[:frames],
                "transl": transl,
            }
        },
        keypoints=keypoints,
        boxes={} if boxes is None else {"mouth": boxes},
        shots=shots,
        unusable=[i for i, (clip, file) in enumerate(pictures) if number(file) not in clip.masks],
        extra=_published_windows(used, shots, fps),
        provenance={
            "format": "thgs",
            "source": str(root),
            "camera": camera.name,
            "reprojection_px": None if np.isnan(camera.error_px) else camera.error_px,
            "warning": _warning(camera),
        },
    )


def _rows(
    poses: Mapping[str, ndarray], file: Path
) -> tuple[Float[ndarray, "T 3"], Float[ndarray, " S"], Float[ndarray, "T E"]]:
    """transl, betas and expression, without axes of length one.

    Raises:
        UserError: not numbers, or not a row a frame.
    """
    for key in ("transl", "betas", "expression"):
        if poses[key].dtype.kind not in "fiu" or not poses[key].ndim or not poses[key].size:
            found = f"values of type {poses[key].dtype}, shape {poses[key].shape}"
            raise UserError(f"{file}:{key}", found, "numbers of every frame", COMPLETE)
    transl, expression = (
        poses[key].reshape(len(poses[key]), -1).astype(np.float64) for key in ("transl", "expression")
    )
    check_array(f"{file}:transl", transl, ("T", 3), COMPLETE)
    return transl, poses["betas"].reshape(-1, poses["betas"].shape[-1])[0].astype(np.float64), expression


def find_clips(root: Path) -> list[Clip]:
    """Folders that hold `image/`, sorted by the number at their end (by name it would break past output999)."""
    if not root.is_dir():
        raise UserError("path", f"{root}: no such folder", "a subject's folder", "correct it")
    folders = sorted((f for f in root.iterdir() if (f / "image").is_dir()), key=lambda f: (number(f), f.name))
    clips = []
    for folder in folders:
        masks = next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)
        pictures = sorted((f for f in (folder / "image").iterdir() if f.stem.isdigit()), key=number)
        clips.append(Clip(folder, pictures, _numbered(masks), _numbered(folder / "face_mask")))
    if not any(clip.pictures for clip in clips):
        raise UserError(
            "path", f"{root}: no folder with image/", "a subject's folder", "give the folder of one subject"
        )
    return clips


def number(file: Path) -> int:
    """The integer at the end of a name, 0 where there is none."""
    found = re.search(r"(\d+)$", file.stem)
    return int(found[1]) if found else 0


def _numbered(folder: Path | None) -> dict[int, Path]:
    if folder is None or not folder.is_dir():
        return {}
    return {number(file): file for file in folder.iterdir() if file.stem.isdigit()}


def _keypoints(clips: list[Clip], frames: int) -> Shaped[ndarray, "T 135 3"] | None:
    """SHOW's 135 points with confidence, where every clip has them in that form."""
    parts = []
    for clip in clips:
        file = clip.folder / "keypoints.npy"
        values = read_npy(file, COMPLETE) if file.is_file() else None
        if values is None or values.shape != (len(clip.pictures), 135, 3) or values.dtype.kind != "f":
            return None
        parts.append(values)
    return np.concatenate(parts)[:frames].astype(np.float64)


def _camera(
    root: Path, size: tuple[int, int], transl: Float[ndarray, "T 3"], keypoints: Shaped[ndarray, "T 135 3"] | None
) -> tuple[Float[ndarray, "3 3"], Reading]:
    """One camera; the loader takes avg_transl as the camera's place, SHOW means the subject's: both are tried."""
    file = root / "optimized_camera_params.npz"
    values = read_npz(file, ("focal_length", "avg_transl"))
    for name, least in (("focal_length", 1), ("avg_transl", 3)):
        found = values[name]
        if found.dtype.kind not in "fiu" or found.size < least or not np.isfinite(found).all():
            wrong = f"{found.size} values of type {found.dtype}, or NaN"
            raise UserError(f"{file}:{name}", wrong, f"{least} finite numbers", COMPLETE)
    focal, place = float(np.ravel(values["focal_length"])[0]), np.ravel(values["avg_transl"])[:3].astype(np.float64)
    K = pinhole(focal, focal, size[0] / 2, size[1] / 2)
    readings = {}
    for name, sign in (("avg_transl is the camera's place", -1), ("avg_transl is the subject's place", 1)):
        readings[name] = np.eye(4)
        readings[name][:3, 3] = sign * place
    pelvis = (transl + PELVIS)[:, None]
    seen = None if keypoints is None else keypoints[:, MID_HIP : MID_HIP + 1]
    return K, choose_reading(readings, K, pelvis, seen, str(file))


def _warning(camera: Reading) -> str | None:
    if np.isnan(camera.error_px) or camera.error_px < GOOD_PX:
        return None
    return f"the hip projects {camera.error_px:.0f} px (median) beside where it was seen"


def _mouth_boxes(pictures: list[tuple[Clip, Path]]) -> Float[ndarray, "T 4"] | None:
    """Boxes round the labels of mouth and lips; NaN where no mask tells."""
    boxes = np.full((len(pictures), 4), np.nan)
    for index, (clip, file) in enumerate(pictures):
        if (mask := clip.face_masks.get(number(file))) is None:
            continue
        labels = read_npz(mask, ("arr_0",))["arr_0"]
        check_array(str(mask), labels, ("labels", "H", "W"), COMPLETE)
        rows, columns = np.nonzero(np.isin(labels, MOUTH_LABELS).any(0))
        if len(rows):
            grow = 0.25 * max(np.ptp(rows), np.ptp(columns))
            low, high = (columns.min() - grow, rows.min() - grow), (columns.max() + 1 + grow, rows.max() + 1 + grow)
            width, height = labels.shape[2], labels.shape[1]
            boxes[index] = np.clip([*low, *high], 0, [width, height, width, height])
    return None if np.isnan(boxes).all() else boxes


def _sound(clip: Clip) -> Float[ndarray, " N"]:
    file = clip.folder / "aud.wav"
    return read_sound(file, RATE, str(file))


def _published_windows(clips: list[Clip], shots: list[tuple[int, int]], fps: float) -> dict[str, ndarray]:
    """The clips' (M,16,44) windows behind one another, each as long as its pictures: `audio.path` takes the file."""
    parts = []
    for clip, (start, stop) in zip(clips, shots, strict=True):
        file = clip.folder / "aud_eo.npy"
        if not file.is_file():
            return {}
        windows = read_npy(file, COMPLETE)
        check_array(str(file), windows, ("T", 16, "C"), COMPLETE)
        wanted = round(stop / fps * WINDOWS_PER_SECOND) - round(start / fps * WINDOWS_PER_SECOND)
        place = np.linspace(0, len(windows) - 1, wanted)
        left = place.astype(int)
        right = np.minimum(left + 1, len(windows) - 1)
        share = (place - left)[:, None, None]
        parts.append(((1 - share) * windows[left] + share * windows[right]).astype(np.float32))
    return {"aud_eo.npy": np.concatenate(parts)}


def _split(options: Options, subject: str, frames: int) -> Split:
    """The user's, the published one of this subject, or the paper's rule."""
    published = PUBLISHED.get(subject.lower())
    if options.train is None and options.test is None and published is not None and published[1][1] < frames:
        train, test = published
        return [Span(train[0], min(train[1] + 1, test[0]), train[2])], [Span(test[0], test[1] + 1, test[2])]
    return default_split(options, frames, HELD_OUT, 4)
