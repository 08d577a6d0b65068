"""One cost in which every term is a squared distance over what is usual for it (THGS eqs 16-17).

Picture distances are turned to metres at the body's depth, so that the same numbers serve a face that fills the
picture and a person across the room.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.body.keypoints import COUNT, KeypointBody
from talkingavatar.body.tpose import FINGERS
from talkingavatar.preprocessing.alignment.observations import IRIS, LIPS, Observations
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


def _robust(squared: Float[Tensor, "T K"], outlier: float) -> Float[Tensor, "T K"]:
    """Geman-McClure: as given while small, never above outlier^2."""
    return squared / (1 + squared / outlier**2)


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
        self.model, self.observations, self.triples, self.fps = model, observations, triples, fps
        self.pose_prior, self.expression_prior = priors
        names = model.body.joint_names
        usual = torch.cat([ACCELERATION, torch.tensor([_joint_acceleration(name) for name in names])])
        self.heaviness = torch.cat([model.known, torch.ones(len(names), dtype=torch.bool)]) / usual.square()
        self.per_metre = start.place[:, 2].exp()[:, None]  # long sides per metre, as first seen
        self.tracks: Tracks | None = None  # counted once they are known

    def __call__(self, variables: Variables, terms: Terms, counted: list[int] | None = None) -> Float[Tensor, ""]:
        """The cost; `counted` names the points whose distances count, None all of them."""
        points, joints = variables.seen(self.model)
        rows = slice(None) if counted is None else counted
        cost = self._data(variables.project(points), terms.outlier)[:, rows].sum(1).mean()
        cost = cost + self.pose_prior.cost(variables.pose).mean()
        cost = cost + self.expression_prior.cost(variables.expression)
        cost = cost + variables.betas.square().sum()
        if terms.calibrated:
            cost = cost + (variables.offsets / OFFSETS[:, None]).square().sum()
        if self.tracks is not None:
            cost = cost + self._tracked(variables, self.tracks)
        if terms.smooth:
            cost = cost + terms.smooth * self._roughness(torch.cat([points, joints], 1))
        return cost

    def _data(self, projected: Float[Tensor, "T 137 2"], outlier: float) -> Float[Tensor, "T 137"]:
        """Robust squared distances of the seen points, and of how far facing ones part."""
        metres = (projected - self.observations.target) / self.per_metre[..., None]
        squared = metres.square().sum(-1)
        cost = self.observations.weight * _robust(squared, outlier) / NOISE.square()
        first, second = FACING
        parted = (metres[:, first] - metres[:, second]).square().sum(-1)
        seen = self.observations.weight[:, first] * self.observations.weight[:, second]
        return cost.index_add(1, first, seen * _robust(parted, outlier) / PARTING_NOISE**2)

    def _tracked(self, variables: Variables, tracks: Tracks) -> Float[Tensor, ""]:
        """Robust squared distances to where places on the person were found, across the edges they show."""
        placed = variables.project(variables.surface(self.model.body, tracks.vertices, tracks.offsets))
        off = placed * self.observations.long_side - tracks.target
        squared = torch.einsum("tmi,mij,tmj->tm", off, tracks.precision, off)
        cost = (tracks.seen * _robust(squared, TRACK_OUTLIER)).sum(1).mean()
        return TRACK_WORTH * cost / TRACK_NOISE**2

    def _roughness(self, points: Float[Tensor, "T K 3"]) -> Float[Tensor, ""]:
        """Squared accelerations of all keypoints and joints, seen or not, inside shots."""
        i = self.triples
        if not len(i):
            return points.new_zeros(())
        bend = (points[i - 1] - 2 * points[i] + points[i + 1]) * self.fps**2
        return (bend.square().sum(-1) * self.heaviness).sum() / len(points)
