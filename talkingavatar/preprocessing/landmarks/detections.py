"""A clip's MediaPipe records as `Keypoints` and coarse masks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from talkingavatar.preprocessing.keypoints import BODY, CONTOUR, COUNT, INNER_FACE, LEFT_HAND, RIGHT_HAND, Keypoints
from talkingavatar.preprocessing.landmarks.hands import choose, doubt
from talkingavatar.preprocessing.landmarks.maps import FACE68, IRIS, body_25

BESIDE = 0.35  # a second face counts from this share of the largest one's height: not a picture on the wall


def keypoints(records: ndarray, shots: list[tuple[int, int]], width: int, height: int) -> Keypoints:
    """Records of T frames (`mediapipe_worker.record`), in the pixels they were made in.

    Args:
        records: one per frame.
        shots: first and one past the last frame of each; hands are compared within a shot only.
        width, height: of the frames; body points outside of them were guessed, not seen.
    """
    mesh = np.full((len(records), 478, 3), np.nan, np.float32)
    mesh[..., :2] = np.where(records["mesh_score"][:, None, None] > 0, records["mesh"], np.nan)
    mesh[..., 2] = records["mesh_score"][:, None]
    points = np.zeros((len(records), COUNT, 3), np.float32)
    points[:, BODY] = _body(records["pose"], width, height)
    hands = choose(records["hands"], records["hand_scores"], records["pose"][:, [15, 16]])
    for start, stop in shots:
        hands[start:stop] = doubt(hands[start:stop])
    points[:, LEFT_HAND], points[:, RIGHT_HAND] = hands[:, 0], hands[:, 1]
    face = mesh[:, FACE68]
    points[:, CONTOUR], points[:, INNER_FACE] = face[:, :17], face[:, 17:]
    return Keypoints(points, mesh[:, IRIS], mesh, _faces(records["faces"]))


def _body(pose: Float[ndarray, "T 33 3"], width: int, height: int) -> Float[ndarray, "T 25 3"]:
    """BODY_25; a body that was not found and points outside the frame are gaps."""
    body = body_25(pose)
    x, y = body[..., 0], body[..., 1]
    unseen = (x < 0) | (y < 0) | (x > width) | (y > height) | (body[..., 2] <= 0)
    body[unseen] = (np.nan, np.nan, 0.0)
    return body


def _faces(found: Float[ndarray, "T 4 5"]) -> Int[ndarray, " T"]:
    """How many faces stand in each frame, small ones in the background aside."""
    size = np.where(found[..., 4] > 0, found[..., 3] - found[..., 1], 0.0)
    return ((size > 0) & (size >= BESIDE * size.max(axis=1, keepdims=True))).sum(axis=1)
