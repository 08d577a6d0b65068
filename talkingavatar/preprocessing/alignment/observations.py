"""What the fit is told: keypoints in units of the picture, with what each is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.keypoints import COUNT
from talkingavatar.preprocessing.keypoints import BODY, CONTOUR, INNER_FACE, LEFT_HAND, RIGHT_HAND, TRUNK, Keypoints

CONFIDENT = 0.2  # THGS eq. 16: M(conf > 0.2)
MARGIN = 0.02  # of the picture's long side: a detector guesses what lies further outside
IRIS = slice(135, 137)
STEADY = 16.0  # weight of what moves with the clothes: a quarter of the detector's usual error
GROUPS = {"hand": (LEFT_HAND, RIGHT_HAND), "body": (BODY,), "face": (INNER_FACE, CONTOUR)}
LIPS = slice(67 + 31, 67 + 51)  # 48 to 67 of the 68
_LIDS = ((36, 39, (37, 38), (41, 40)), (42, 45, (43, 44), (47, 46)))  # corners, upper and lower lid; right, left
_SHUT, _OPEN = 0.12, 0.22  # height of the open eye over its width, below and above which the iris is hidden or plain


@dataclass(frozen=True)
class Observations:
    """Keypoints of T frames; a point that was not seen has weight 0."""

    target: Float[Tensor, "T 137 2"]  # from the picture's centre, in units of its long side
    weight: Float[Tensor, "T 137"]  # [0, 1], more where the clothes tell the trunk's motion
    long_side: int  # pixels

    def __len__(self) -> int:
        return len(self.target)

    @property
    def seen(self) -> Bool[Tensor, "T 137"]:
        return self.weight > 0


def observe(
    keypoints: Keypoints,
    width: int,
    height: int,
    known: Bool[Tensor, " 137"],
    steady: Bool[ndarray, " T"] | None = None,
) -> Observations:
    """Confident keypoints inside the picture that the body has; those of a trunk that is `steady` count for more."""
    points = np.concatenate([keypoints.points, keypoints.iris], 1).astype(np.float64)
    assert points.shape[1] == COUNT
    weight = np.nan_to_num(points[..., 2])
    xy = points[..., :2]
    margin = MARGIN * max(width, height)
    inside = ((xy > -margin) & (xy < np.array([width, height]) + margin)).all(-1)  # false for gaps
    weight = np.where(inside & (weight > CONFIDENT), weight, 0.0).clip(0, 1)
    weight[:, IRIS] *= _iris_plain(keypoints)
    if steady is not None:
        weight[np.ix_(steady, np.array(TRUNK))] *= STEADY
    target = np.where(weight[..., None] > 0, xy - np.array([width, height]) / 2, 0.0) / max(width, height)
    worth = torch.from_numpy(weight).float() * known
    return Observations(torch.from_numpy(target).float(), worth, max(width, height))


def _iris_plain(keypoints: Keypoints) -> Float[ndarray, "T 2"]:
    """How much of the left and right iris the lids leave to be seen: a detector guesses it through closed ones."""
    face = keypoints.face68()[..., :2]
    shares = []
    for inner, outer, upper, lower in _LIDS:
        width = np.linalg.norm(face[:, inner] - face[:, outer], axis=-1)
        gap = np.linalg.norm(face[:, upper] - face[:, lower], axis=-1).mean(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares.append(np.clip((gap / width - _SHUT) / (_OPEN - _SHUT), 0, 1))
    return np.nan_to_num(np.stack(shares[::-1], 1))
