"""Where the fit starts: which limbs the clip shows, and where the body stands."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import median_filter
from torch import Tensor

from talkingavatar.body.keypoints import COUNT, KeypointBody
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.alignment.kernels import FLIP
from talkingavatar.preprocessing.alignment.observations import Observations
from talkingavatar.preprocessing.alignment.priors import PosePrior, pose_prior
from talkingavatar.preprocessing.alignment.variables import Variables
from talkingavatar.types import BodyPose

SHOWN = 0.1  # share of the frames in which a limb must be seen
WRISTS = {"left": 7, "right": 4}
_HIPS, _KNEES, _SHOULDERS = (12, 9), (13, 10), (5, 2)
FORESHORTENED = 0.9  # thighs shorter than this times the shoulders' width in the picture belong to somebody seated
_LEAST = 4  # points that place a frame
_STEADY = 5  # frames of the median that takes single wrong sizes out
USUAL_FOCAL, USUAL_DISTANCE = (1.2, 1.0), (1.8, 0.5)  # long sides, metres; spreads of their logarithms
# Points that keep their distances when limbs and face move: shoulders, hips, brows, nose, eyes' corners.
STIFF = [2, 5, 9, 12, *range(67, 86), 86, 89, 92, 95]


def choose_prior(observations: Observations, names: tuple[str, ...]) -> PosePrior:
    """Arms rest in front where the clip shows their wrists; legs are bent where thighs are foreshortened."""
    shown = (observations.weight > 0).float().mean(0) > SHOWN
    arms = {side: bool(shown[wrist]) for side, wrist in WRISTS.items()}
    sitting = False
    if all(shown[[*_HIPS, *_KNEES, *_SHOULDERS]]):
        xy = observations.target

        def length(a: int, b: int) -> float:
            both = (observations.weight[:, a] > 0) & (observations.weight[:, b] > 0)
            return (xy[both, a] - xy[both, b]).norm(dim=-1).median().item()

        thigh = sum(length(hip, knee) for hip, knee in zip(_HIPS, _KNEES, strict=True)) / 2
        sitting = thigh < FORESHORTENED * length(*_SHOULDERS)
    return pose_prior(names, arms, sitting)


def start(
    observations: Observations,
    model: KeypointBody,
    prior: PosePrior,
    shots: list[tuple[int, int]],
    focal: float | None,
) -> Variables:
    """The resting body, scaled and moved onto each frame's stiff points.

    Args:
        focal: length in units of the picture's long side; None takes the usual one.

    Raises:
        UserError: no frame shows enough of a person.
    """
    rest = model.body.zero_pose()
    rest = BodyPose(rest.betas, rest.expression, prior.rest[None], rest.transl)
    points, joints = model(rest)
    body = ((points[0] - joints[0, model.body.joint_names.index("neck")]) * points.new_tensor(FLIP))[:, :2].numpy()
    place = _similarities(observations, body)
    if np.isnan(place).all():
        raise UserError("video", "no frame that shows a face or shoulders", "a person", "choose another clip")
    for first, stop in shots:
        place[first:stop] = _filled(place[first:stop], place)
    count, (S, E) = len(observations), (rest.betas.shape[1], rest.expression.shape[1])
    return Variables(
        betas=torch.zeros(S),
        focal=torch.tensor(math.log(usual_focal(place) if focal is None else focal)),
        offsets=torch.zeros(COUNT, 3),
        place=torch.from_numpy(place).float(),
        pose=prior.rest.expand(count, -1, -1).clone(),
        expression=torch.zeros(count, E),
    )


def usual_focal(place: Float[np.ndarray, "T 3"]) -> float:
    """Focal length, in long sides, between what is usual of lenses and what is usual of distances.

    A head that fills the picture is seen through a long lens rather than from where it could be touched. The points
    themselves do not tell: on real clips the fit costs less the shorter the lens, since perspective then stands in
    for the differences between a body model's face and a person's.
    """
    at_usual_distance = USUAL_DISTANCE[0] * math.exp(float(np.median(place[:, 2])))
    lens, distance = USUAL_FOCAL[1] ** -2, USUAL_DISTANCE[1] ** -2
    return math.exp((lens * math.log(USUAL_FOCAL[0]) + distance * math.log(at_usual_distance)) / (lens + distance))


def _similarities(observations: Observations, body: Float[np.ndarray, "137 2"]) -> Float[np.ndarray, "T 3"]:
    """Neck and log scale (long sides per metre) of each frame; NaN where too little is seen."""
    target, weight = observations.target.double().numpy(), observations.weight.double().numpy()
    place = np.full((len(target), 3), np.nan)
    for t in range(len(target)):
        used = [k for k in STIFF if weight[t, k] > 0]
        if len(used) < _LEAST:
            continue
        a, b = body[used], target[t, used]
        middle_a, middle_b = a.mean(0), b.mean(0)
        # Turning the head shortens widths, never heights by as much: spread over both axes is steady enough.
        scale = np.sqrt(np.square(b - middle_b).sum() / np.square(a - middle_a).sum())
        place[t] = *(middle_b - scale * middle_a), np.log(scale)
    return place


def _filled(shot: Float[np.ndarray, "n 3"], clip: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "n 3"]:
    """Gaps between seen frames are bridged; a shot that shows nothing stands where the clip mostly does."""
    seen = np.flatnonzero(~np.isnan(shot[:, 0]))
    if not len(seen):
        return np.broadcast_to(np.nanmedian(clip, 0), shot.shape)
    bridged = np.stack([np.interp(np.arange(len(shot)), seen, column[seen]) for column in shot.T], 1)
    return median_filter(bridged, (_STEADY, 1), mode="nearest")


def triples(shots: list[tuple[int, int]]) -> Tensor:
    """Middles of three neighbouring frames that lie in one shot."""
    return torch.cat([torch.zeros(0, dtype=torch.long), *(torch.arange(a + 1, max(a + 1, b - 1)) for a, b in shots)])
