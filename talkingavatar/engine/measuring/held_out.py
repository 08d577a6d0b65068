"""The frames that are measured, and what of the ground truth every measure needs to know about them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.mesh_geometry import vertex_normals
from talkingavatar.body.parts import INSIDE
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.capture import RATE, REGIONS, Capture
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.engine.measuring.labelled_takes import capture_labels, is_labelled, speaker_labels
from talkingavatar.errors import UserError
from talkingavatar.geometry.cameras import project
from talkingavatar.metrics.lipsync.crop import CropTrack, crop_track, detector_boxes
from talkingavatar.metrics.mouth_sync import face_boxes
from talkingavatar.runtime.files import sha256
from talkingavatar.types import BodyPose

SKIN_POINTS = 300  # places of the face whose colour is followed
FACING = 0.7  # cosine to the camera from which a place is followed
GROWN = 1.2  # by which `metrics.image` grows a box
SHORTEST = 25  # frames; below that nothing can be said of motion or sync


@dataclass(frozen=True)
class HeldOut:
    """Held-out frames in shots, with their sound, their motion and, of a capture, the geometry of its pictures.

    Crops, boxes and places of the skin come from the capture alone, so that every method is looked at alike.
    """

    body: Body  # on the CPU, as the capture's tables
    frames: list[int]
    shots: list[tuple[int, int]]  # start, stop in `frames`: stretches without a cut or a missing frame
    fps: float
    sound: Float[ndarray, " S"]  # 16 kHz, of these frames
    tracked: BodyPose
    truth: BodyPose | None  # the true motion, where it is known
    data: CaptureData | None = None  # None: speech and motion without pictures
    labels: Float[ndarray, "T 8"] | None = None  # share of each emotion that a frame is labelled with
    speaker: DataConfig | None = None  # who it is, where it is an embedded person who feels something

    @property
    def pose(self) -> BodyPose:
        """True where it is known, else tracked."""
        return self.tracked if self.truth is None else self.truth

    @property
    def pictures(self) -> CaptureData:
        """Where the pictures are."""
        assert self.data is not None, "a measure needs pictures and does not say so"
        return self.data

    @cached_property
    def calmest(self) -> int:
        """Which of the frames, counted in `frames`, has the calmest face."""
        return int(self.pose.expression.abs().sum(1).argmin())

    def cut(self, i: int) -> bool:
        """Whether the i-th frame is no neighbour of the one before it."""
        return any(start == i for start, _ in self.shots[1:])

    @cached_property
    def regions(self) -> list[dict[str, Float[ndarray, " 4"]]]:
        """The capture's own of each frame, pixels."""
        return [{name: self.pictures.capture.regions[name][f] for name in REGIONS} for f in self.frames]

    @cached_property
    def boxes(self) -> list[dict[str, Float[ndarray, " 4"]]]:
        """The same, and head with neck."""
        heads = head_neck_boxes(self.pictures.capture, self.frames, self.body, self.tracked)
        return [regions | {"head_neck": head} for regions, head in zip(self.regions, heads, strict=True)]

    @cached_property
    def marks(self) -> Float[ndarray, "T 68 3"] | None:
        """Landmarks."""
        return face_marks(self.pictures.capture, self.frames, self.body, self.tracked)

    @cached_property
    def mouths(self) -> Float[ndarray, "T 4"]:
        """Boxes that ride on the face, not on the lips; NaN where no landmarks are known."""
        return np.full((len(self.frames), 4), np.nan) if self.marks is None else face_boxes(self.marks)

    @cached_property
    def track(self) -> CropTrack:
        """The face's square in each frame.

        Raises:
            UserError: no face is seen.
        """
        heads = self.pictures.capture.regions["head"][self.frames]
        return crop_track(heads if self.marks is None else detector_boxes(self.marks))

    @cached_property
    def skin(self) -> Float[ndarray, "T N 2"]:
        """Places of the face in pixels; NaN where turned away."""
        return skin_places(self.pictures.capture, self.frames, self.body, self.pose)

    def digest(self) -> str:
        """Of all that the ground truth's own numbers, and those set against it, are made of."""
        motions = [self.tracked] if self.truth is None else [self.tracked, self.truth]
        facts = [self.frames, self.shots, self.fps, self.body.checksum, bool(self.data)]
        parts = [self.sound, *(tensor.numpy() for pose in motions for tensor in vars(pose).values())]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        if self.data is not None:
            digest.update(
                json.dumps([self.data.background.tolist(), _pictures_digest(self.data, self.frames)]).encode()
            )
        return digest.hexdigest()


def _pictures_digest(data: CaptureData, frames: list[int]) -> list[str]:
    """Of a capture's tables, and of the sizes of its pictures: to read them all would take as long as to measure."""
    folder = data.capture.folder
    tables = [folder / "capture.json", *sorted(folder.glob("*.npz")), *sorted((folder / "truth").glob("*.npz"))]
    names = {f"{frame:06d}.png" for frame in frames}
    pictures = [file for file in sorted(folder.glob("*/*.png")) if file.name in names]
    return [
        *(f"{file.relative_to(folder)} {sha256(file)}" for file in tables),
        *(f"{file.relative_to(folder)} {file.stat().st_size}" for file in pictures),
    ]


def held_out(data: CaptureData, body: Body, most: int = 0) -> HeldOut:
    """The held-out frames of a capture, at most `most` from the start (0: all); `body` on the CPU.

    Raises:
        UserError: there are too few.
    """
    frames = data.capture.test_frames[: most or None]
    enough(frames, str(data.capture.folder))
    return some_held_out(data, body, frames)


def enough(frames: list[int], where: str) -> None:
    """
    Raises:
        UserError: there are too few to tell motion from.
    """
    if len(frames) < SHORTEST:
        found = f"{len(frames)} held-out frames in {where}"
        raise UserError("frames", found, f"at least {SHORTEST}", "give a longer capture, or a larger frames=")


def some_held_out(data: CaptureData, body: Body, frames: list[int]) -> HeldOut:
    """These frames of a capture, of which any may be missing."""
    capture = data.capture
    shots, fps = stretches(frames, capture.manifest.shots), capture.manifest.fps
    tracked, truth = capture.pose(frames, data.model), capture.true_pose(frames, data.model)
    sound, labels, config = sound_of(capture.audio, frames, shots, fps), capture_labels(capture), data.config.data
    return HeldOut(
        body, frames, shots, fps, sound, tracked, truth, data,
        None if labels is None else labels[frames], config if is_labelled(config) else None,
    )  # fmt: skip


def held_out_of_clip(clip: MotionClip, body: Body, most: int = 0, config: DataConfig | None = None) -> HeldOut:
    """The held-out frames of speech and motion without pictures, at most `most` from the start (0: all).

    Args:
        config: by which the clip was made, for what is labelled in it.

    Raises:
        UserError: there are too few.
    """
    frames = clip.test_frames[: most or None]
    enough(frames, clip.name)
    held = motion_held_out(clip, body, frames)
    labels = None if config is None else speaker_labels(config, clip.fps)
    return held if labels is None else replace(held, labels=labels[frames], speaker=config)


def motion_held_out(clip: MotionClip, body: Body, frames: list[int]) -> HeldOut:
    """These frames of speech and motion."""
    shots = stretches(frames, clip.shots)
    truth = None if clip.truth is None else clip.truth[frames]
    return HeldOut(
        body, frames, shots, clip.fps, sound_of(clip.samples, frames, shots, clip.fps), clip.pose[frames], truth
    )


def sound_of(
    samples: Float[ndarray, " N"], frames: list[int], shots: list[tuple[int, int]], fps: float
) -> Float[ndarray, " S"]:
    """What is heard in stretches of frames, one after the other."""
    ends = ((frames[a], frames[b - 1] + 1) for a, b in shots)
    return np.concatenate([samples[round(f * RATE / fps) : round(g * RATE / fps)] for f, g in ends])


def evenly(frames: list[int], count: int) -> list[int]:
    """`count` of the frames, evenly spaced; all of them for 0."""
    if count <= 0 or count >= len(frames):
        return frames
    return [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]


def stretches(frames: list[int], shots: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Start and stop (places in `frames`) of runs of consecutive frames of one shot."""
    starts = {start for start, _ in shots}
    edges = [i for i in range(1, len(frames)) if frames[i] != frames[i - 1] + 1 or frames[i] in starts]
    bounds = [0, *edges, len(frames)]
    return list(pairwise(bounds))


def face_marks(capture: Capture, frames: list[int], body: Body, pose: BodyPose) -> Float[ndarray, "T 68 3"] | None:
    """True landmarks, else detected ones, else the tracked body's; None where the body has none either."""
    for truth in (True, False):
        if (marks := capture.landmarks(truth)) is not None:
            return marks[frames]
    if body.landmark_faces is None:
        return None
    places = [project(body.landmarks(body(pose[[i]])[0]), capture.cameras([f]))[0] for i, f in enumerate(frames)]
    seen = torch.stack(places)
    return torch.cat([seen, torch.ones_like(seen[..., :1])], -1).numpy()


@torch.no_grad()
def head_neck_boxes(capture: Capture, frames: list[int], body: Body, pose: BodyPose) -> Float[ndarray, "T 4"]:
    """Squares from above the crown down to half way between neck and collar bones (methods E.4); NaN out of sight.

    They are given smaller by what `metrics.image` grows a box by.
    """
    head = body.regions["head"]
    names = body.joint_names
    low = [names.index("neck")] + [names.index(n) for n in ("left_collar", "right_collar") if n in names]
    boxes = np.full((len(frames), 4), np.nan)
    for start in range(0, len(frames), 32):
        rows = slice(start, start + 32)
        vertices, joints = body(pose[rows])
        cameras = capture.cameras(frames[rows])
        seen = project(vertices[:, head], cameras).numpy()
        below = project(joints[:, low], cameras).numpy()[..., 1]
        floor = below[:, 0] if len(low) == 1 else 0.5 * (below[:, 0] + below[:, 1:].mean(1))
        top = seen[..., 1].min(1)
        side = 1.1 * (floor - top)
        x = 0.5 * (seen[..., 0].min(1) + seen[..., 0].max(1))
        half = 0.5 * side / GROWN
        middle = floor - 0.5 * side
        boxes[rows] = np.stack([x - half, middle - half, x + half, middle + half], -1)
    outside = np.isnan(capture.regions["head"][frames]).any(1) | (boxes[:, 2] <= boxes[:, 0])
    boxes[outside] = np.nan
    return boxes


@torch.no_grad()
def skin_places(capture: Capture, frames: list[int], body: Body, pose: BodyPose) -> Float[ndarray, "T N 2"]:
    """Pixels of vertices of the face that look at the camera; NaN where they do not."""
    chosen = face_vertices(body)
    places = []
    for i, frame in enumerate(frames):
        vertices, _ = body(pose[[i]])
        cameras = capture.cameras([frame])
        view = cameras.viewmats[0]
        seen = vertices[0] @ view[:3, :3].T + view[:3, 3]
        towards = -(vertex_normals(seen, body.faces)[chosen] * torch.nn.functional.normalize(seen[chosen], dim=-1))
        pixels = project(vertices[:, chosen], cameras)[0]
        places.append(torch.where(towards.sum(-1, keepdim=True) > FACING, pixels, torch.nan))
    return torch.stack(places).numpy()


def face_vertices(body: Body) -> Int[Tensor, " n"]:
    """About `SKIN_POINTS` of the skin between brows and chin, within the outer corners of the eyes: no hair, no edges.

    A body without landmarks gives those of its whole head.
    """
    inner = [body.regions[name] for name in INSIDE]
    chosen = body.regions["head"]
    chosen = chosen[~torch.isin(chosen, torch.cat(inner))]
    if body.landmark_faces is not None:
        marks, at = body.landmarks(body.v_template[None])[0], body.v_template[chosen]
        wide = (at[:, 0] > marks[36:48, 0].min()) & (at[:, 0] < marks[36:48, 0].max())
        tall = (at[:, 1] > marks[:17, 1].min()) & (at[:, 1] < marks[17:27, 1].max())
        chosen = chosen[wide & tall & (at[:, 2] > marks[:17, 2].min())]
    return chosen[:: max(1, len(chosen) // SKIN_POINTS)]
