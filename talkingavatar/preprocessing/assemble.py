"""The last stage: what the others found becomes a capture (`data/capture.py`)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from talkingavatar.body.body import Body
from talkingavatar.data.capture import CaptureWriter, Manifest, Model, Span, Table
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.alignment.align import Alignment
from talkingavatar.preprocessing.clip import Clip
from talkingavatar.preprocessing.keypoints import LEFT_HAND, RIGHT_HAND, Keypoints
from talkingavatar.preprocessing.landmarks.source import Actions
from talkingavatar.preprocessing.stages import remove, write_json
from talkingavatar.preprocessing.sync import shifted
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.readers import healed, read_json

ASSEMBLE_VERSION = 3
TRAINED = 400  # frames that a stride is chosen for
SHORT_SHOT = 0.4  # seconds; shorter shots are not used
FACE = 0.5  # share of the 68 landmarks that makes a face
MANIFEST, CONTENTS = "capture.json", "contents.json"
ALL_PARTS = (
    "frames", "mattes", "confidence", "motion.npz",
    "audio.flac", "cameras.npz", "smplx.npz", "flame.npz", "landmarks.npz", "keypoints.npz",
    "regions.npz", "actions.npz", "background.png", "features", "truth",
)  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Which frames are trained on and held out."""

    train: Span
    test: Span
    unusable: list[int]

    def usable(self, part: Span) -> list[int]:
        """The frames of a part, without those left out of both."""
        return sorted(set(part.frames) - set(self.unusable))

    def without(self, frames: Iterable[int]) -> Split:
        """The same with these frames left out of both parts as well."""
        return replace(self, unusable=sorted({*self.unusable, *frames}))


@dataclass(frozen=True)
class Imported:
    """What is known of a capture that somebody else prepared."""

    split: Split
    told: dict[str, Any]  # for the provenance


@dataclass(frozen=True)
class Moved:
    """What is known of frames that were made and not filmed."""

    motion: Table  # the latent of each
    confidence: Path  # a folder of pictures
    invalid: dict[int, str]  # frames that are not to be learned from, and why
    told: dict[str, Any]  # for the provenance

    @property
    def key(self) -> str:
        """Digest of all that it was made of."""
        return str(self.told["moved"])


@dataclass(frozen=True)
class Parts:
    """What a capture is made of."""

    name: str
    clip: Clip
    keypoints: Keypoints
    actions: Actions | None  # facial actions, from sources that measure them
    matte: Path  # the matte stage's folder
    alignment: Alignment
    body: Body
    offset: float  # frames by which the sound is moved earlier
    split: Split
    moved: Moved | None = None


def split_frames(
    keypoints: Keypoints, shots: list[tuple[int, int]], fps: float, heldout: float, stride: int | None
) -> Split:
    """The paper's split over the usable frames: every n-th frame of the first part, and the whole tail.

    The tail begins at a cut where one lies within half of its length; frames without a face and those of shots
    shorter than `SHORT_SHOT` are left out of both parts.

    Raises:
        UserError: too little is left.
    """
    unusable = unusable_frames(keypoints, shots, fps)
    usable = np.setdiff1d(np.arange(len(keypoints)), unusable)
    if len(usable) < fps:
        cuts = len(shots) - 1
        found = f"{len(usable)} usable frames of {len(keypoints)} ({cuts} cuts)"
        raise UserError(
            "video", found, "at least 1 s of a person in shots that last", "give another clip or start, end"
        )
    tail = round(len(usable) * heldout)
    edge = int(usable[-max(1, tail)])
    near = [start for start, _ in shots[1:] if abs(start - edge) <= tail / 2 and start <= usable[-1]]
    edge = min(near, key=lambda start: abs(start - edge), default=edge)
    before = int((usable < edge).sum())
    step = stride or max(1, round(before / TRAINED))
    if not before or not len(usable[usable >= edge]):
        raise UserError("heldout", f"{heldout:g}", "frames in both parts", "choose another share")
    return Split(Span(0, edge, step), Span(edge, len(keypoints)), unusable)


def unusable_frames(keypoints: Keypoints, shots: list[tuple[int, int]], fps: float) -> list[int]:
    """Frames without a face, and those of shots that are too short."""
    left_out = np.isfinite(keypoints.face68()[..., 0]).mean(axis=1) < FACE
    for start, stop in shots:
        if stop - start < SHORT_SHOT * fps:
            left_out[start:stop] = True
    return np.flatnonzero(left_out).tolist()


def published(folder: Path, key: str) -> bool:
    """Whether the capture that lies there is of this key."""
    made = healed(lambda: read_json(folder / MANIFEST, dict, ""), {}, warn).get("provenance")
    return isinstance(made, dict) and made.get("key") == key


def publish(folder: Path, staged: Path) -> None:
    """Move a whole capture from `staged` to its place; the manifest goes last, so that half of one is never read.

    It may be stopped anywhere and called again.
    """
    _delete(folder / MANIFEST)
    wanted = json.loads((staged / CONTENTS).read_text())
    for name in ALL_PARTS:
        if (staged / name).exists():
            _delete(folder / name)
            (staged / name).rename(folder / name)
        elif name not in wanted:  # left of another capture; what is wanted was moved by an earlier call
            _delete(folder / name)
    (staged / MANIFEST).replace(folder / MANIFEST)
    remove(staged)


def _delete(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)


def write_capture(parts: Parts, provenance: dict[str, Any], folder: Path) -> None:
    """All files of the capture, the manifest last."""
    clip, keypoints, writer = parts.clip, parts.keypoints, CaptureWriter(folder)
    _link_pictures(parts.matte, writer, clip.frames)
    writer.sound(shifted(clip.audio, parts.offset, clip.fps))
    fitted, model = parts.alignment, model_of(parts.body)
    writer.cameras(fitted.viewmat.numpy()[None, None], fitted.K.numpy()[None, None])
    writer.parameters(model, _parameters(fitted), parts.body.expression_names)
    if parts.actions is not None:
        writer.table("actions", bridged(parts.actions, clip.shots))
    writer.landmarks(keypoints.face68().astype(np.float32))
    if parts.moved is not None:
        _write_moved(parts.moved, writer, clip.frames)
    keypoints.save(folder / "keypoints.npz")
    writer.regions(region_boxes(keypoints, clip.width, clip.height))
    writer.finish(
        Manifest(
            name=parts.name,
            fps=clip.fps,
            width=clip.width,
            height=clip.height,
            frames=clip.frames,
            train=[parts.split.train],
            test=[parts.split.test],
            body={model: parts.body.checksum},
            provenance=provenance,
            shots=clip.shots,
            unusable=parts.split.unusable,
        )
    )
    write_json(folder / CONTENTS, [name for name in ALL_PARTS if (folder / name).exists()])


def _write_moved(moved: Moved, writer: CaptureWriter, frames: int) -> None:
    writer.table("motion", moved.motion)
    for index in range(frames):
        writer.link_confidence(index, moved.confidence / f"{index:06d}.png")


def bridged(actions: Actions, shots: list[tuple[int, int]]) -> Table:
    """Frames without a face get what lies between their neighbours of the same shot; a shot without any, rest."""
    values = np.zeros_like(actions.values, np.float32)
    known = np.isfinite(actions.values).all(1)
    for start, stop in shots:
        if (seen := start + np.flatnonzero(known[start:stop])).size:
            rows = np.arange(start, stop)
            values[start:stop] = np.stack([np.interp(rows, seen, column[seen]) for column in actions.values.T], 1)
    return Table(actions.names, values, actions.scale)


def model_of(body: Body) -> Model:
    """Whose parameters a body has."""
    return "flame" if "flame" in body.name else "smplx"


def region_boxes(keypoints: Keypoints, width: int, height: int) -> dict[str, Float[ndarray, "T 4"]]:
    """x0 y0 x1 y1 in pixels, inside the picture; NaN where not seen.

    The head reaches over the face by half of its height upwards, for forehead and hair; the mouth is grown by half.
    """
    face = keypoints.face68()
    head = _box(face, width, height, (0.2, 0.55, 0.2, 0.08))
    return {
        "head": head,
        "mouth": _box(face[:, 48:], width, height, (0.25, 0.25, 0.25, 0.25)),
        "left_hand": _box(keypoints.points[:, LEFT_HAND], width, height, (0.15, 0.15, 0.15, 0.15)),
        "right_hand": _box(keypoints.points[:, RIGHT_HAND], width, height, (0.15, 0.15, 0.15, 0.15)),
    }


def _box(
    points: Shaped[ndarray, "T P 3"], width: int, height: int, margins: tuple[float, float, float, float]
) -> Float[ndarray, "T 4"]:
    """Round the points, grown by shares of its own size to the left, top, right and bottom."""
    seen = np.isfinite(points[..., :2]).all(axis=(1, 2))
    box = np.full((len(points), 4), np.nan, np.float32)
    low, high = points[seen, :, :2].min(axis=1), points[seen, :, :2].max(axis=1)
    grow = (high - low) * np.array(margins[:2]), (high - low) * np.array(margins[2:])
    limit = np.array([width, height])
    box[seen] = np.concatenate([(low - grow[0]).clip(0, limit), (high + grow[1]).clip(0, limit)], axis=1)
    empty = (box[:, 2:] - box[:, :2] < 1).any(axis=1)
    box[empty] = np.nan
    return box


def _link_pictures(matte: Path, writer: CaptureWriter, frames: int) -> None:
    """Frames, mattes and the clean plate as the matte stage left them."""
    for index in range(frames):
        name = f"{index:06d}.png"
        writer.link_picture(index, matte / "frames" / name, matte / "mattes" / name)
    if (matte / "background.png").is_file():
        writer.link(matte / "background.png", "background.png")


def _parameters(alignment: Alignment) -> dict[str, ndarray]:
    """The body's table."""
    pose = alignment.pose
    tables = {
        "betas": pose.betas[0],
        "expression": pose.expression,
        "full_pose": pose.full_pose,
        "transl": pose.transl,
        "keypoint_offsets": alignment.offsets,
    }
    return {name: values.detach().cpu().numpy() for name, values in tables.items()}
