"""What landmarks show that tracked people lack: in shape, in how faces move alike in all frames, in lips and blinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.data.face_gains import FaceGains, face_gains, some
from talkingavatar.data.lids import MissedBlinks, missed_blinks
from talkingavatar.data.lips import LostLips, lost_lips
from talkingavatar.data.shape_shift import ShapeShift, shape_shift
from talkingavatar.types import BodyPose, Cameras


@dataclass(frozen=True)
class MadeUp:
    """What is made up for."""

    shape: ShapeShift | None
    gains: FaceGains | None
    lips: LostLips | None  # what the gains leave
    blinks: MissedBlinks | None  # the same

    def apply(self, pose: BodyPose, frames: Sequence[int]) -> BodyPose:
        """Of these frames, as tracked."""
        pose = pose if self.shape is None else self.shape.apply(pose)
        pose = pose if self.gains is None else self.gains.apply(pose)
        pose = pose if self.lips is None else self.lips.apply(pose, frames)
        return pose if self.blinks is None else self.blinks.apply(pose, frames)


def made_up(
    body: Body,
    pose: BodyPose,
    marks: Float[Tensor, "T 68 3"],
    cameras: Cameras,
    trained: Sequence[int],
    shapes: bool = True,
    faces: bool = True,
) -> MadeUp:
    """
    Args:
        pose: every frame as tracked.
        marks: detected, x and y in pixels and a confidence, 0 where one is not seen.
        trained: frames that tell what shape and faces lack; every frame tells what its lips and lids do.
        shapes, faces: what is made up for.
    """
    seen = some(trained)
    looked = replace(cameras, viewmats=cameras.viewmats[seen], Ks=cameras.Ks[seen])
    shape = shape_shift(body, pose[seen], marks[seen], looked) if shapes else None
    pose = pose if shape is None else shape.apply(pose)
    if not faces:
        return MadeUp(shape, None, None, None)
    gains = face_gains(body, pose[seen], marks[seen], looked)
    pose = gains.apply(pose)
    found = body, pose, marks, cameras
    return MadeUp(shape, gains, lost_lips(*found), missed_blinks(*found))
