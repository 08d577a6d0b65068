"""The unknowns of the fit, and how they become a body before a camera."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.keypoints import COUNT, KeypointBody
from talkingavatar.preprocessing.alignment.kernels import FLIP, NEAREST
from talkingavatar.preprocessing.keypoints import INNER_LIPS
from talkingavatar.types import BodyPose


@dataclass(frozen=True)
class Variables:
    """Leaves of the optimisation for T frames.

    The body is held at its neck, which is in nearly every picture; held at the pelvis, a small turn would throw
    the head across it. Its place is kept as it is seen: a change of focal length alone moves nothing sideways.
    """

    betas: Float[Tensor, " S"]
    focal: Float[Tensor, ""]  # log of the focal length in units of the picture's long side
    offsets: Float[Tensor, "137 3"]  # see `KeypointBody.forward`; one calibration for the whole clip
    place: Float[Tensor, "T 3"]  # of the neck: x, y from the picture's centre in long sides; log of long sides per m
    pose: Float[Tensor, "T J 3"]
    expression: Float[Tensor, "T E"]

    def detached(self) -> Variables:
        return Variables(**{f.name: getattr(self, f.name).detach().clone() for f in fields(self)})

    def intrinsics(self, width: int, height: int) -> Float[Tensor, "3 3"]:
        """Of a picture of this size, pixels."""
        focal = self.focal.exp() * max(width, height)
        return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])

    def frames(self, rows: list[int]) -> Variables:
        """Of these frames alone."""
        return replace(self, place=self.place[rows], pose=self.pose[rows], expression=self.expression[rows])

    def body_pose(self, transl: Float[Tensor, "T 3"]) -> BodyPose:
        betas = self.betas.expand(len(self.place), -1)
        return BodyPose(betas, self.expression, self.pose, transl)

    def neck(self) -> Float[Tensor, "T 3"]:
        """The neck's place before the camera, metres."""
        size = (-self.place[:, 2:]).exp()
        return torch.cat([self.place[:, :2] * size, self.focal.exp() * size], 1)

    def seen(self, model: KeypointBody) -> tuple[Float[Tensor, "T 137 3"], Float[Tensor, "T J 3"]]:
        """Keypoints and joints in the camera's axes, metres."""
        points, joints = model(self.body_pose(torch.zeros_like(self.place)), share_opening(self.offsets))
        both = self._before_camera(torch.cat([points, joints], 1), model.body, joints)
        return both[:, :COUNT], both[:, COUNT:]

    def surface(self, body: Body, vertices: Int[Tensor, " n"], offsets: Float[Tensor, "n 3"]) -> Float[Tensor, "T n 3"]:
        """Points beside these vertices in the camera's axes, metres; offsets as in `Body.forward`."""
        points, joints = body(self.body_pose(torch.zeros_like(self.place)), vertices, offsets)
        return self._before_camera(points, body, joints)

    def _before_camera(
        self, points: Float[Tensor, "T n 3"], body: Body, joints: Float[Tensor, "T J 3"]
    ) -> Float[Tensor, "T n 3"]:
        at_neck = points - joints[:, [body.joint_names.index("neck")]]
        return at_neck * points.new_tensor(FLIP) + self.neck()[:, None]

    def project(self, points: Float[Tensor, "T K 3"]) -> Float[Tensor, "T K 2"]:
        """From the picture's centre, in units of its long side."""
        return self.focal.exp() * points[..., :2] / points[..., 2:].clamp(min=NEAREST)


def share_opening(offsets: Float[Tensor, "137 3"]) -> Float[Tensor, "137 3"]:
    """Offsets with which facing points of the inner lips move together.

    A calibration free to part the lips would take the opening that jaw and lips should make.
    """
    return _MIX.to(offsets) @ offsets


def _mix() -> Float[Tensor, "137 137"]:
    mix = torch.eye(COUNT)
    for pair in INNER_LIPS:
        rows = [50 + mark for mark in pair]
        for row in rows:
            mix[row] = 0
            mix[row, rows] = 0.5
    return mix


_MIX = _mix()
