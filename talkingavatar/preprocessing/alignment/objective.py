"""One cost in which every term is a squared distance over what is usual for it (THGS eqs 16-17).

Picture distances are turned to metres at the body's depth, so that the same numbers serve a face that fills the
picture and a person across the room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.body.keypoints import COUNT, KeypointBody
from talkingavatar.body.tpose import FINGERS
from talkingavatar.preprocessing.alignment.kernels import Followed, Seen, Steady
from talkingavatar.preprocessing.alignment.observations import IRIS, LIPS, Observations
from talkingavatar.preprocessing.alignment.posing import Figure, SeenCost
from talkingavatar.preprocessing.alignment.priors import ExpressionPrior, PosePrior
from talkingavatar.preprocessing.alignment.tracks import Tracks
from talkingavatar.preprocessing.alignment.variables import Variables
from talkingavatar.preprocessing.keypoints import BODY, CONTOUR, INNER_FACE, LEFT_HAND, RIGHT_HAND


def _per_point(**values: float) -> Float[Tensor, " 137"]:
    row = torch.zeros(COUNT)
    for group, value in values.items():
        row[_GROUPS[group]] = value
    return row


_GROUPS: dict[str, slice | list[int]] = {
    "body": BODY,
    "head": [0, 15, 16, 17, 18],  # nose, eyes, ears of the pose detector: coarser than the face's own points
    "arms": [3, 4, 6, 7],
    "left": LEFT_HAND,
    "right": RIGHT_HAND,
    "face": INNER_FACE,
    "lips": LIPS,
    "contour": CONTOUR,  # slides along the jaw as the head turns
    "chin": slice(118 + 7, 118 + 10),
    "iris": IRIS,
}
# Usual error of a detected point, metres at the body's depth.
NOISE = _per_point(body=0.010, head=0.012, left=0.003, right=0.003, face=0.0012, contour=0.005, chin=0.003, iris=0.0008)
# Usual distance between the detector's point and the body's, the same in all frames, metres.
OFFSETS = _per_point(body=0.030, head=0.010, left=0.005, right=0.005, face=0.004, contour=0.008, iris=0.001)
# Usual accelerations in m/s^2: hands are quick, trunk and head are heavy, lips are small but sudden.
ACCELERATION = _per_point(
    body=1.5, arms=14.0, left=20.0, right=20.0, face=2.0, lips=12.0, contour=3.0, chin=6.0, iris=4.0
)
# Facing points of lips and lids and the corners of the mouth, of the 68: how far they part is seen better than where
# they are, and speech and blinks live in it.
_FACING = ((61, 67), (62, 66), (63, 65), (37, 41), (38, 40), (43, 47), (44, 46), (48, 54))
FACING = torch.tensor(_FACING).T + 50
PARTING_NOISE = 0.0005  # metres
# Usual error of a place found again, pixels, and beyond which it pulls no harder; neighbouring ones err alike, so each
# counts for less than one.
TRACK_NOISE, TRACK_OUTLIER, TRACK_WORTH = 0.5, 4.0, 0.25


def _joint_acceleration(name: str) -> float:
    _, _, part = name.rpartition("_")
    if part.rstrip("123") in FINGERS:
        return 20.0
    return 14.0 if part in ("elbow", "wrist") else 1.5


@dataclass(frozen=True)
class Terms:
    """Which parts of the cost a phase uses."""

    outlier: float  # metres: a point further off than this pulls no harder (Geman-McClure)
    smooth: float = 0.0  # weight of the accelerations
    calibrated: bool = False


class Objective:
    """The cost of `Variables` given what was seen; a mean over frames."""

    def __init__(
        self,
        model: KeypointBody,
        observations: Observations,
        priors: tuple[PosePrior, ExpressionPrior],
        triples: Int[Tensor, " n"],
        fps: float,
        start: Variables,
    ) -> None:
        self.model, self.observations, self.fps = model, observations, fps
        self.pose_prior, self.expression_prior = priors
        names = model.body.joint_names
        usual = torch.cat([ACCELERATION, torch.tensor([_joint_acceleration(name) for name in names])])
        self.heaviness = torch.cat([model.known, torch.ones(len(names), dtype=torch.bool)]) / usual.square()
        self.middle = np.zeros(len(observations), np.bool_)
        self.middle[triples.numpy()] = True
        self.per_metre = start.place[:, 2].exp().double().numpy()  # long sides per metre, as first seen
        self.count_tracks(None)

    def count_tracks(self, tracks: Tracks | None) -> None:
        """From now on places on the surface count as well, where they are known."""
        self.figure = Figure(self.model.body, self.model.corners, tracks)
        self.followed = _followed(tracks, self.observations)

    def __call__(self, variables: Variables, terms: Terms, counted: list[int] | None = None) -> Float[Tensor, ""]:
        """The cost; `counted` names the points whose distances count, None all of them."""
        parts = self._seen(terms, counted), self.followed, self._steady(terms)
        focal = variables.focal.exp().item()
        rest = self.figure.rest(variables)
        cost = SeenCost.apply(variables.pose, rest, variables.neck(), focal, self.figure, parts)
        cost = cost + self.pose_prior.cost(variables.pose).mean()
        cost = cost + self.expression_prior.cost(variables.expression)
        cost = cost + variables.betas.square().sum()
        if terms.calibrated:
            cost = cost + (variables.offsets / OFFSETS[:, None]).square().sum()
        return cost

    def _seen(self, terms: Terms, counted: list[int] | None) -> Seen:
        """Robust squared distances of the seen points, and of how far facing ones part."""
        counts = torch.zeros(COUNT)
        counts[slice(None) if counted is None else counted] = 1.0
        weight, (first, second) = self.observations.weight, FACING
        parted = weight[:, first] * weight[:, second] * counts[first] / PARTING_NOISE**2
        worth = weight * counts / NOISE.square()
        target = self.observations.target.numpy()
        return Seen(target, worth.numpy(), FACING.numpy(), parted.numpy(), self.per_metre, terms.outlier)

    def _steady(self, terms: Terms) -> Steady:
        """Squared accelerations of all keypoints and joints, seen or not, inside shots."""
        worth = (terms.smooth * self.fps**4 * self.heaviness).double().numpy()
        return Steady(self.middle if terms.smooth else np.zeros_like(self.middle), worth)


def _followed(tracks: Tracks | None, observations: Observations) -> Followed:
    """Robust squared distances to where places on the person were found, across the edges they show."""
    side = float(observations.long_side)
    if tracks is None:
        none = np.zeros((len(observations), 0), np.float32)
        return Followed(none[..., None].repeat(2, -1), none, np.zeros((0, 2, 2), np.float32), side, TRACK_OUTLIER)
    worth = tracks.seen.float() * (TRACK_WORTH / TRACK_NOISE**2)
    return Followed(tracks.target.numpy(), worth.numpy(), tracks.precision.numpy(), side, TRACK_OUTLIER)
