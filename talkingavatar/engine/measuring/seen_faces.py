"""What is seen of performances in their pictures: a few frames of each, drawn, and the face detected in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar.body.action_units import action_units
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.measuring.measures.face_landmarks import in_frame
from talkingavatar.engine.performing.performance import Performance
from talkingavatar.geometry.cameras import project
from talkingavatar.metrics.action_units import AuEstimator
from talkingavatar.metrics.lipsync.crop import SIZE, crop_track, detector_boxes
from talkingavatar.preprocessing.landmarks.face_stream import FaceStream
from talkingavatar.splatting import to_bytes
from talkingavatar.types import Cameras

UPPER, LOWER = [61, 62, 63], [67, 66, 65]  # landmarks of the inner lips, one above the other
CORNERS = 36, 45  # outer ones of the eyes
SHOWN = 0  # of the frames, whose picture is kept


@dataclass(frozen=True)
class Seen:
    """Of each of P performances' F frames."""

    units: Float[ndarray, "P F 17"]  # intensities 0 to 5; NaN where no landmark shows the unit
    openings: Float[ndarray, "P F"]  # of the lips, by the distance of the eyes' outer corners
    faces: list[UInt8[ndarray, "224 224 3"]]  # one of each performance


class SeenFaces:
    """Draws performances of one head motion, whose faces are cropped alike, and looks for the faces' landmarks.

    Those are shifted, each by one distance in all pictures, so that on average they lie in the first performance where
    the body says: what a detector makes of this face is no action.

    Args:
        first: the one that others are set against.
        frames: numbers of those that are drawn.

    Raises:
        UserError: MediaPipe cannot be had, or the body has no landmarks.
    """

    def __init__(self, avatar: FittedRun, first: Performance, frames: list[int]) -> None:
        self.avatar, self.pose, self.frames = avatar, first.signal.pose[frames], frames
        self.estimator = AuEstimator(avatar.body)
        self.cameras = _each(first.cameras, len(frames))
        self.posed = project(avatar.body.posed_landmarks(self.pose), self.cameras).numpy()
        self.track = crop_track(detector_boxes(self.posed))
        self.faces: list[UInt8[ndarray, "224 224 3"]] = []
        self.count = 0
        self.stream = FaceStream(SIZE, SIZE)
        self.add(first)

    @torch.no_grad()
    def add(self, performance: Performance) -> None:
        """Draw the next one."""
        method = self.avatar.method
        cameras = performance.cameras.to(method.device)
        for i, frame in enumerate(self.frames):
            signal = performance.signal[[frame]].to(method.device)
            crop = self.track.crop(to_bytes(method.render(method.drive(signal), cameras).rgb[0]), i)
            self.stream.add(crop)
            if i == SHOWN:
                self.faces.append(crop)
        self.count += 1

    def finish(self) -> Seen:
        """After the last one."""
        found = self.stream.finish().reshape(self.count, len(self.frames), 68, 3)
        marks = np.stack([in_frame(points, self.track) for points in found])
        marks[..., :2] -= np.nanmean(marks[0, ..., :2] - self.posed, 0)
        units = []
        for points in marks:
            actions = self.estimator.estimate(points, self.pose, self.cameras)
            units.append(np.stack(list(action_units(actions, self.estimator.names).values()), 1))
        apart = np.linalg.norm(marks[..., UPPER, :2] - marks[..., LOWER, :2], axis=-1).mean(-1)
        eyes = np.linalg.norm(marks[..., CORNERS[0], :2] - marks[..., CORNERS[1], :2], axis=-1)
        return Seen(np.stack(units), apart / eyes, self.faces)

    def close(self) -> None:
        """End early."""
        self.stream.close()


def _each(cameras: Cameras, count: int) -> Cameras:
    """One camera, for every frame."""
    return replace(cameras, viewmats=cameras.viewmats.expand(count, -1, -1), Ks=cameras.Ks.expand(count, -1, -1))
