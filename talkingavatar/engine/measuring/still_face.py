"""Where a motion moves lips and upper face, the head held still: what measures of facial motion compare."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.lips import lips_of
from talkingavatar.engine.measuring.held_out import face_vertices
from talkingavatar.types import BodyPose

AT_ONCE = 64  # frames
NOSE_TIP = 30  # of the landmarks


@dataclass(frozen=True)
class Face:
    """Vertices of some frames, metres."""

    lips: Float[Tensor, "T L 3"]
    upper: Float[Tensor, "T U 3"]


class StillFace:
    """A body's lips and its skin from the tip of the nose to the brows, moved by its jaw and expressions alone."""

    def __init__(self, body: Body) -> None:
        self.body, self._jaw = body, body.joint_names.index("jaw")
        self._lips = lips_of(body)
        self._places = torch.cat([self._lips, self._upper()])

    @property
    def why_not(self) -> str:
        """Why it cannot be told; empty where it can."""
        known = len(self._lips) and self.body.landmark_faces is not None
        return "" if known else f"{self.body.name} does not know its lips, or has no landmarks"

    def _upper(self) -> Int[Tensor, " U"]:
        if self.body.landmark_faces is None:
            return self._lips[:0]
        chosen = face_vertices(self.body)
        tip = self.body.landmarks(self.body.v_template[None])[0][NOSE_TIP, 1]
        return chosen[self.body.v_template[chosen, 1] > tip]

    @torch.no_grad()
    def of(self, pose: BodyPose) -> Face:
        """In each frame."""
        full_pose = torch.zeros_like(pose.full_pose)
        full_pose[:, self._jaw] = pose.full_pose[:, self._jaw]
        still = replace(pose, full_pose=full_pose, transl=torch.zeros_like(pose.transl))
        starts = range(0, len(pose), AT_ONCE)
        vertices = torch.cat([self.body(still[i : i + AT_ONCE], self._places)[0] for i in starts])
        return Face(vertices[:, : len(self._lips)], vertices[:, len(self._lips) :])

    def at_rest(self, pose: BodyPose) -> Face:
        """Of the same person, without an expression: one frame."""
        return self.of(replace(self.body.zero_pose(1), betas=pose.betas[:1]))
