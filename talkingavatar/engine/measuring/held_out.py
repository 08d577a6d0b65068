"""The frames that are measured, and what of the ground truth every measure needs to know about them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.surface import vertex_normals
from talkingavatar.data.capture import RATE, REGIONS, Capture
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.errors import UserError
from talkingavatar.geometry.cameras import project
from talkingavatar.metrics.lipsync.crop import CropTrack, crop_track, detector_boxes
from talkingavatar.metrics.mouth_sync import face_boxes
from talkingavatar.types import BodyPose

SKIN_POINTS = 300  # places of the face whose colour is followed
FACING = 0.7  # cosine to the camera from which a place is followed
GROWN = 1.2  # by which `metrics.image` grows a box
SHORTEST = 25  # frames; below that nothing can be said of motion or sync


@dataclass(frozen=True)
class HeldOut:
    """Consecutive held-out frames of a capture, in shots, with the geometry of the ground truth.

    Crops, boxes and places of the skin come from the capture alone, so that every method is looked at alike.
    """

    data: CaptureData
    body: Body  # on the CPU, as the capture's tables
    frames: list[int]
    shots: list[tuple[int, int]]  # start, stop in `frames`: stretches without a cut or a missing frame
    sound: Float[ndarray, " S"]  # 16 kHz, of these frames
    pose: BodyPose  # true where it is known, else tracked
    known: bool  # whether it is the true one
    boxes: list[dict[str, Float[ndarray, " 4"]]]  # regions of each frame, pixels
    marks: Float[ndarray, "T 68 3"] | None  # landmarks
    mouths: Float[ndarray, "T 4"]  # that ride on the face, not on the lips
    track: CropTrack  # the face's square in each frame
    skin: Float[ndarray, "T N 2"]  # pixels; NaN where turned away

    @property
    def fps(self) -> float:
        return self.data.capture.manifest.fps

    def digest(self) -> str:
        """Of what decides the ground truth's own numbers."""
        folder = self.data.capture.folder
        stated = json.dumps([self.frames, self.data.background.tolist(), self.skin.shape])
        files = [(folder / name).read_bytes() for name in ("capture.json", f"{self.data.model}.npz", "regions.npz")]
        return hashlib.sha256(b"".join([stated.encode(), *files])).hexdigest()


def held_out(data: CaptureData, body: Body, most: int = 0) -> HeldOut:
    """The held-out frames of a capture, at most `most` from the start (0: all); `body` on the CPU.

    Raises:
        UserError: there are too few, or no face is seen in them.
    """
    capture = data.capture
    frames = capture.test_frames[: most or None]
    if len(frames) < SHORTEST:
        found = f"{len(frames)} held-out frames in {capture.folder}"
        raise UserError("frames", found, f"at least {SHORTEST}", "give a longer capture, or a larger frames=")
    shots = stretches(frames, capture.manifest.shots)
    truth = capture.true_pose(frames, data.model)
    pose = capture.pose(frames, data.model)
    marks = face_marks(capture, frames, body, pose)
    cuts = [capture.audio[round(f * RATE / capture.manifest.fps) : round((g + 1) * RATE / capture.manifest.fps)]
            for f, g in ((frames[a], frames[b - 1]) for a, b in shots)]  # fmt: skip
    return HeldOut(
        data,
        body,
        frames,
        shots,
        np.concatenate(cuts),
        pose if truth is None else truth,
        truth is not None,
        region_boxes(capture, frames, body, pose),
        marks,
        np.full((len(frames), 4), np.nan) if marks is None else face_boxes(marks),
        crop_track(capture.regions["head"][frames] if marks is None else detector_boxes(marks)),
        skin_places(capture, frames, body, pose if truth is None else truth),
    )


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


def region_boxes(
    capture: Capture, frames: list[int], body: Body, pose: BodyPose
) -> list[dict[str, Float[ndarray, " 4"]]]:
    """The capture's regions, and head with neck."""
    heads = head_neck_boxes(capture, frames, body, pose)
    return [{name: capture.regions[name][f] for name in REGIONS} | {"head_neck": heads[i]}
            for i, f in enumerate(frames)]  # fmt: skip


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
    inner = [body.regions[n] for n in ("left_eye", "right_eye", "teeth_upper", "teeth_lower", "tongue", "mouth_cavity")]
    chosen = body.regions["head"]
    chosen = chosen[~torch.isin(chosen, torch.cat(inner))]
    if body.landmark_faces is not None:
        marks, at = body.landmarks(body.v_template[None])[0], body.v_template[chosen]
        wide = (at[:, 0] > marks[36:48, 0].min()) & (at[:, 0] < marks[36:48, 0].max())
        tall = (at[:, 1] > marks[:17, 1].min()) & (at[:, 1] < marks[17:27, 1].max())
        chosen = chosen[wide & tall & (at[:, 2] > marks[:17, 2].min())]
    return chosen[:: max(1, len(chosen) // SKIN_POINTS)]
