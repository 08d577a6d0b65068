"""Motion blur: what moved while the shutter was open is drawn at two moments of that time and averaged.

Fitted to one moment, Gaussians learn the smear of a quick hand and keep it when the hand rests.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.data.inputs import moved
from talkingavatar.geometry.cameras import project
from talkingavatar.types import Batch, BodyPose, DrivingSignal

BLURRED = 1.5  # pixels that a joint in the picture moves meanwhile, from which a second drawing is worth it
QUARTER = 0.25  # of the time before and after its middle: where two samples stand for the whole


def moments(
    batch: Batch, shutter: float, body: Body, known: dict[tuple[int, str], bool] | None = None
) -> list[DrivingSignal]:
    """What drives the drawings whose mean is the frame: the signal itself, or the pose at two moments of the exposure.

    Args:
        batch: of one frame.
        shutter: share of the time between two frames that the shutter is open.
        body: whose joints tell how far the picture moved.
        known: whether it moved far enough, by frame and view, of those asked for before: a GPU is waited for once.
    """
    if batch.motion is None:
        return [batch.signal]
    early, late = (moved(batch.signal, batch.motion, share * shutter) for share in (-QUARTER, QUARTER))
    known, picture = {} if known is None else known, (int(batch.signal.frame[0]), batch.view)
    if picture not in known:
        known[picture] = bool(blur(early.pose, late.pose, batch, body) >= BLURRED)
    return [early, late] if known[picture] else [batch.signal]


@torch.no_grad()
def blur(early: BodyPose, late: BodyPose, batch: Batch, body: Body) -> Float[Tensor, ""]:
    """Pixels that the quickest joint in the picture moves during the whole exposure."""
    none = torch.zeros(0, dtype=torch.long, device=early.transl.device)
    before, after = (project(body(pose, none)[1], batch.cameras)[0] for pose in (early, late))
    size = before.new_tensor([batch.cameras.width, batch.cameras.height])
    inside = ((before > 0) & (before < size)).all(-1)
    way = (after - before).norm(dim=-1) / (2 * QUARTER)
    return torch.where(inside, way, 0.0).max()
