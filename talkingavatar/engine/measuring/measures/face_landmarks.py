"""Landmarks of the face, detected alike in every video: how steady they are, how far from the ground truth's."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.engine.measuring.measure import Findings, Found, Measure, Options, Picture, Setting
from talkingavatar.errors import UserError
from talkingavatar.metrics.landmarks import PARTS, landmark_distances, lmd
from talkingavatar.metrics.lipsync.crop import SIZE, CropTrack
from talkingavatar.metrics.motion import acceleration_error, metered
from talkingavatar.preprocessing.landmarks.face_stream import DETECTOR, FaceStream
from talkingavatar.types import Batch, DrivingSignal


class Landmarks(Measure):
    """Detects them, and says how steady they are; table `landmarks`, (T, 68, 3): pixels of the frame, confidence."""

    keys = ("jitter/landmarks_px", "jitter/mouth_px")
    needs = ("frames", "pictures", "face", "landmarks")

    @classmethod
    def find(cls, options: Options) -> dict[str, Found]:
        if options.landmarks == "none":
            return {"landmarks": Found(why="landmarks=none was asked for")}
        try:
            FaceStream(SIZE, SIZE, options.announce).close()
        except UserError as error:
            return {"landmarks": Found(why=str(error))}
        return {"landmarks": Found(facts={"origin": DETECTOR})}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.faces = FaceStream(SIZE, SIZE)

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        assert shown is not None
        self.faces.add(shown.face)

    def finish(self, found: Findings, truth: Findings) -> Findings:
        marks = in_frame(self.faces.finish(), self.held.track)
        points, shots = seen_points(marks), self.held.shots
        seen = {"jitter/landmarks_px": points, "jitter/mouth_px": points[:, PARTS["mouth"]]}
        meters = {key: metered(those, shots) for key, those in seen.items()}
        return Findings(
            {key: meter.value() for key, meter in meters.items()},
            tables={"landmarks": marks},
            per_frame={key: meter.by_frame() for key, meter in meters.items()},
        )

    def close(self) -> None:
        self.faces.close()


class LandmarkDistance(Measure):
    """How far they are from the ground truth's, and how differently they move."""

    keys = ("lmd", "acceleration_error")
    needs = ("frames", "pictures", "truth", "face", "landmarks")
    definitions: ClassVar = {
        "lmd": "pixels, landmarks detected alike in render and ground truth. mouth: points 48-67, each set about its "
        "own mean; face: all 68, as they are",
        "acceleration_error": "mean distance of second differences to the ground truth's, pixels per frame squared",
    }

    def finish(self, found: Findings, truth: Findings) -> Findings:
        a, b, shots = found.tables["landmarks"], truth.tables["landmarks"], self.held.shots
        metrics = {"lmd/mouth_px": lmd(a, b, "mouth"), "lmd/face_px": landmark_distances(a, b, PARTS)["face"]}
        metrics["acceleration_error/landmarks_px"] = acceleration_error(seen_points(a), seen_points(b), shots)
        ours, true = (seen_points(marks[:, PARTS["mouth"]]) for marks in (a, b))
        metrics["acceleration_error/mouth_px"] = acceleration_error(ours, true, shots)
        mouths = np.array([lmd(a[[i]], b[[i]], "mouth") for i in range(len(a))])
        return Findings(metrics, per_frame={"lmd/mouth_px": mouths})


def in_frame(marks: Float[ndarray, "T 68 3"], track: CropTrack) -> Float[ndarray, "T 68 3"]:
    """From pixels of the crops to those of the frames."""
    half, side = track.half[:, None], 2.8 * track.half[:, None] / SIZE
    moved = marks.copy()
    moved[..., 0] = marks[..., 0] * side + track.x[:, None] - 1.4 * half
    moved[..., 1] = marks[..., 1] * side + track.y[:, None] - half
    return moved


def seen_points(marks: Float[ndarray, "T N 3"]) -> Float[ndarray, "T N 2"]:
    """Landmarks without their confidence, NaN where they were not found."""
    return np.where(marks[..., 2:] > 0, marks[..., :2], np.nan)
