"""What is known of a person before looking: how joints rest, how far they spread, where they stop.

Angles are axis-angle components in degrees at the joint, about the T-pose's axes (x to the person's left, y up,
z forward), written for the left side; the right side mirrors x -> -x. Palms face down in the T-pose, so that
fingers curl about -z and the elbow bends about -y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from talkingavatar.body.tpose import FINGERS

Angles = tuple[float, float, float]
_FREE: tuple[Angles, Angles] = ((-180.0, -180.0, -180.0), (180.0, 180.0, 180.0))


@dataclass(frozen=True)
class JointPrior:
    """Rest and spread pull softly everywhere; the limits push only outside."""

    rest: Angles = (0, 0, 0)
    spread: Angles = (5, 5, 5)
    limits: tuple[Angles, Angles] = _FREE


_MIDDLE = {
    "pelvis": JointPrior(spread=(15, 40, 10)),  # SMPL-X's orientation against a camera that looks along -z
    **{f"spine{k}": JointPrior(spread=(7, 7, 5)) for k in (1, 2, 3)},
    "neck": JointPrior(spread=(12, 15, 9), limits=((-40, -50, -30), (40, 50, 30))),
    "head": JointPrior(spread=(12, 15, 9), limits=((-40, -50, -30), (40, 50, 30))),
    "jaw": JointPrior(spread=(6, 2, 1), limits=((0, -6, -3), (30, 6, 3))),
}
_LEFT = {
    "collar": JointPrior(spread=(3, 8, 8), limits=((-15, -30, -25), (15, 30, 30))),
    "shoulder": JointPrior((8, -7, -78), (40, 45, 40), ((-110, -120, -110), (110, 70, 90))),
    "elbow": JointPrior((15, -15, 2), (30, 50, 6), ((-80, -150, -15), (80, 0, 15))),
    "wrist": JointPrior((15, 0, 0), (30, 14, 28), ((-80, -40, -75), (80, 40, 70))),
    "hip": JointPrior((0, 0, 4), (40, 20, 15), ((-125, -50, -30), (25, 50, 50))),
    "knee": JointPrior((6, 0, 0), (50, 4, 4), ((0, -12, -12), (145, 12, 12))),
    "ankle": JointPrior(spread=(12, 8, 8)),
    "foot": JointPrior(spread=(5, 3, 3)),
    "eye_smplhf": JointPrior(spread=(10, 14, 1), limits=((-25, -38, -3), (30, 38, 3))),
    "thumb1": JointPrior((0, 5, 0), (18, 22, 18), ((-50, -45, -50), (50, 50, 50))),
    "thumb2": JointPrior((0, 10, 0), (8, 22, 8), ((-20, -25, -20), (20, 60, 20))),
    "thumb3": JointPrior((0, 15, 0), (5, 28, 5), ((-12, -25, -12), (12, 85, 12))),
}
for _finger, _curl in {"index": -18, "middle": -22, "ring": -26, "pinky": -28}.items():
    _LEFT[f"{_finger}1"] = JointPrior((0, 0, _curl), (5, 9, 30), ((-12, -22, -95), (12, 22, 30)))
    _LEFT[f"{_finger}2"] = JointPrior((0, 0, _curl - 8), (2, 2, 32), ((-6, -6, -115), (6, 6, 6)))
    _LEFT[f"{_finger}3"] = JointPrior((0, 0, 0.7 * (_curl - 8)), (2, 2, 22), ((-6, -6, -85), (6, 6, 12)))

# Where a limb starts, and rests, once the clip shows that it is not hanging.
ARM_IN_FRONT = {"shoulder": (7, -17, -68), "elbow": (12, -89, 12), "wrist": (15, 1, -5)}
SITTING = {"hip": (-80, 12, 8), "knee": (85, 0, 0)}

LIMIT_SPREAD = 2.0  # degrees beyond a limit that cost as much as one spread from rest
TIP_FOLLOWS, TIP_SPREAD = 0.65, 8.0  # a finger's last joint curls with its middle one; spread in degrees
EYES_APART = 2.0  # degrees between both eyes' turns


@dataclass(frozen=True)
class PosePrior:
    """The table above for one body's joints, radians."""

    rest: Float[Tensor, "J 3"]
    spread: Float[Tensor, "J 3"]
    lower: Float[Tensor, "J 3"]
    upper: Float[Tensor, "J 3"]
    middles: list[int]  # middle joints of fingers and, in the same order, their last ones
    tips: list[int]
    eyes: list[int]

    def cost(self, pose: Float[Tensor, "T J 3"]) -> Float[Tensor, " T"]:
        """Squared distance from rest in spreads, limits, coupled fingers and eyes."""
        cost = ((pose - self.rest) / self.spread).square()
        beyond = (self.lower - pose).clamp(min=0) + (pose - self.upper).clamp(min=0)
        cost = (cost + (beyond / math.radians(LIMIT_SPREAD)).square()).sum((1, 2))
        if self.tips:
            apart = pose[:, self.tips, 2] - TIP_FOLLOWS * pose[:, self.middles, 2]
            cost = cost + (apart / math.radians(TIP_SPREAD)).square().sum(1)
        apart = pose[:, self.eyes[0]] - pose[:, self.eyes[1]]
        return cost + (apart / math.radians(EYES_APART)).square().sum(1)


def pose_prior(names: tuple[str, ...], arms_in_front: dict[str, bool], sitting: bool) -> PosePrior:
    """Prior of the joints of these names.

    Args:
        arms_in_front: by side, whether that arm rests before the trunk or hangs.
        sitting: whether the legs rest bent.
    """
    rows = []
    for name in names:
        side, _, part = name.partition("_")
        if side not in ("left", "right"):
            rows.append(_MIDDLE[name])
            continue
        known = _LEFT[part]
        moved = (ARM_IN_FRONT if arms_in_front[side] else {}) | (SITTING if sitting else {})
        prior = JointPrior(moved.get(part, known.rest), known.spread, known.limits)
        rows.append(prior if side == "left" else _mirrored(prior))
    fingers = [f"{side}_{finger}" for side in ("left", "right") for finger in FINGERS if finger != "thumb"]
    fingers = [finger for finger in fingers if f"{finger}2" in names]
    return PosePrior(
        rest=_angles([row.rest for row in rows]),
        spread=_angles([row.spread for row in rows]),
        lower=_angles([row.limits[0] for row in rows]),
        upper=_angles([row.limits[1] for row in rows]),
        middles=[names.index(f"{finger}2") for finger in fingers],
        tips=[names.index(f"{finger}3") for finger in fingers],
        eyes=[names.index(f"{side}_eye_smplhf") for side in ("left", "right")],
    )


def _mirrored(prior: JointPrior) -> JointPrior:
    def turn(angles: Angles) -> Angles:
        return angles[0], -angles[1], -angles[2]

    low, high = turn(prior.limits[0]), turn(prior.limits[1])
    lower = tuple(min(pair) for pair in zip(low, high, strict=True))
    upper = tuple(max(pair) for pair in zip(low, high, strict=True))
    return JointPrior(turn(prior.rest), prior.spread, (lower, upper))  # type: ignore[arg-type]


def _angles(degrees: list[Angles]) -> Float[Tensor, "J 3"]:
    return torch.tensor(degrees).deg2rad()


# Facial actions that points on the face do not show, or that a joint makes already (jaw, eyes).
_UNSEEN_ACTIONS = ("jaw", "eyeLook", "cheekPuff", "tongueOut")
ACTION_SPREAD, CLOSING_SPREAD = 0.35, 0.2  # of an action in [0, 1]; of mouthClose, which undoes what the jaw does
CONSTANT = 0.35  # spread of a clip's mean expression, as a share of the above


@dataclass(frozen=True)
class ExpressionPrior:
    """Open rig: named actions between 0 and 1. Licensed models: coefficients of unit spread."""

    free: Bool[Tensor, " E"]
    spread: Float[Tensor, " E"]
    bounded: bool

    def cost(self, expression: Float[Tensor, "T E"]) -> Float[Tensor, ""]:
        """Mean over frames; what is the same in all of them belongs to the face, not to its expression."""
        varying = (expression / self.spread).square().sum(1).mean()
        return varying + (expression.mean(0) / (CONSTANT * self.spread)).square().sum()

    def clamp_(self, expression: Float[Tensor, "T E"]) -> None:
        """Back into what the model means by its coefficients, in place."""
        if self.bounded:
            expression.clamp_(0, 1)


def expression_prior(names: list[str]) -> ExpressionPrior:
    actions = "jawOpen" in names
    free = [not (actions and name.startswith(_UNSEEN_ACTIONS)) for name in names]
    spread = [CLOSING_SPREAD if name == "mouthClose" else ACTION_SPREAD if actions else 1.0 for name in names]
    return ExpressionPrior(torch.tensor(free), torch.tensor(spread), actions)
