"""What landmarks show that a tracker's faces lack: in size, alike in all frames, and whole blinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.data.face_gains import FaceGains, face_gains, some
from talkingavatar.data.lids import MissedBlinks, missed_blinks
from talkingavatar.types import BodyPose, Cameras


@dataclass(frozen=True)
class MadeUp:
    """What is made up for."""

    gains: FaceGains
    blinks: MissedBlinks | None  # that the gains leave

    def apply(self, pose: BodyPose, frames: Sequence[int]) -> BodyPose:
        """Of these frames, as tracked."""
        pose = self.gains.apply(pose)
        return pose if self.blinks is None else self.blinks.apply(pose, frames)


def made_up(
    body: Body, pose: BodyPose, marks: Float[Tensor, "T 68 3"], cameras: Cameras, trained: Sequence[int]
) -> MadeUp:
    """
    Args:
        pose: every frame as tracked.
        marks: detected, x and y in pixels and a confidence, 0 where one is not seen.
        trained: frames that tell by how much faces are too small; every frame tells whether a blink is missing.
    """
    seen = some(trained)
    looked = replace(cameras, viewmats=cameras.viewmats[seen], Ks=cameras.Ks[seen])
    gains = face_gains(body, pose[seen], marks[seen], looked)
    return MadeUp(gains, missed_blinks(body, gains.apply(pose), marks, cameras))
