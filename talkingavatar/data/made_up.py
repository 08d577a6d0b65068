"""What landmarks show that a tracker's people lack: in shape and in how faces move, alike in all frames; and blinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.data.face_gains import FaceGains, face_gains, some
from talkingavatar.data.lids import MissedBlinks, missed_blinks
from talkingavatar.data.shape_shift import ShapeShift, shape_shift
from talkingavatar.types import BodyPose, Cameras


@dataclass(frozen=True)
class MadeUp:
    """What is made up for."""

    shape: ShapeShift | None
    gains: FaceGains | None
    blinks: MissedBlinks | None  # that the gains leave

    def apply(self, pose: BodyPose, frames: Sequence[int]) -> BodyPose:
        """Of these frames, as tracked."""
        pose = pose if self.shape is None else self.shape.apply(pose)
        pose = pose if self.gains is None else self.gains.apply(pose)
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
        trained: frames that tell what shape and faces lack; every frame tells whether a blink is missing.
        shapes, faces: what is made up for.
    """
    seen = some(trained)
    looked = replace(cameras, viewmats=cameras.viewmats[seen], Ks=cameras.Ks[seen])
    shape = shape_shift(body, pose[seen], marks[seen], looked) if shapes else None
    pose = pose if shape is None else shape.apply(pose)
    if not faces:
        return MadeUp(shape, None, None)
    gains = face_gains(body, pose[seen], marks[seen], looked)
    return MadeUp(shape, gains, missed_blinks(body, gains.apply(pose), marks, cameras))
