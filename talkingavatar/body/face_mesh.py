"""The face of the open rig as a mesh of its own: skin inside the oval, eyes, teeth, tongue, and what is behind them."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.parts import INSIDE
from talkingavatar.types import BodyPose

# The oval in the template's x and y, metres: from under the chin to below the hair, from temple to temple.
MIDDLE, HALF, POWER = (0.0, 0.880), (0.073, 0.103), 2.4
LEAST_DEPTH = 0.06  # metres in the template; the skin of the oval lies in front of it
STIFF = 3e-4  # metres: no expression moves what tells the head's place by more


class FaceMesh:
    """N vertices of a body, and what is known of them; all numbers of vertices are the mesh's own.

    Its frame is the head's at rest: y up, facing +z, metres, the origin in the head's joint.
    """

    rows: Int[Tensor, " N"]  # vertices of the body
    faces: Int[Tensor, "F 3"]
    stiff: Int[Tensor, " S"]  # vertices that go with the skull
    joints: list[int]  # of the body: jaw and eyes

    def __init__(self, body: Body) -> None:
        """
        Args:
            body: the open rig with SMPL-X's joints; the oval is told in its template's coordinates.
        """
        self.body, rest = body, body.v_template
        self.head = body.joint_names.index("head")
        self.joints = [j for j, parent in enumerate(body.parents) if parent == self.head]
        head = torch.zeros(len(rest), dtype=torch.bool)
        head[body.regions["head"]] = True
        away = ((rest[:, :2] - rest.new_tensor(MIDDLE)) / rest.new_tensor(HALF)).abs() ** POWER
        taken = head & (away.sum(1) < 1) & (rest[:, 2] > LEAST_DEPTH)
        for name in INSIDE:
            taken[body.regions[name]] = True
        self.rows = taken.nonzero()[:, 0]
        number = torch.full((len(rest),), -1)
        number[self.rows] = torch.arange(len(self.rows))
        self.number = number
        whole = number[body.faces]
        self.faces = whole[(whole >= 0).all(1)]
        moved = body.expressiondirs[self.rows].norm(dim=1).amax(1)
        self.stiff = (((moved < STIFF) & self.skin) | self.part("teeth_upper")).nonzero()[:, 0]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, name: str) -> Bool[Tensor, " N"]:
        """The vertices of one of the body's regions."""
        return torch.isin(self.rows, self.body.regions[name])

    @cached_property
    def skin(self) -> Bool[Tensor, " N"]:
        """All that does not lie inside the eyes or the mouth."""
        return ~torch.stack([self.part(name) for name in INSIDE]).any(0)

    @cached_property
    def rim(self) -> Int[Tensor, " R"]:
        """Vertices of the skin's outer edge, in order round the face as it is seen from the front."""
        faces = self.faces[self.skin[self.faces].all(1)]
        edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
        pairs, counts = edges.unique(dim=0, return_counts=True)
        edge = pairs[counts == 1].unique()
        place = (self.body.v_template[self.rows[edge], :2] - torch.tensor(MIDDLE)) / torch.tensor(HALF)
        outer = (place.abs() ** POWER).sum(1) > 0.6  # not round the eyes and the mouth
        turn = torch.atan2(place[outer, 1], place[outer, 0])
        return edge[outer][turn.argsort()]

    def neutral(self, betas: Float[Tensor, "B S"]) -> Float[Tensor, "B N 3"]:
        """Faces without an expression, in the head's frame."""
        pose = self.body.zero_pose(len(betas))
        return self.moved(betas, pose.expression, pose.full_pose)

    def moved(
        self, betas: Float[Tensor, "B S"], expression: Float[Tensor, "B E"], full_pose: Float[Tensor, "B J 3"]
    ) -> Float[Tensor, "B N 3"]:
        """Faces with an expression, jaw and eyes in the head's frame; of the pose no other joint is read."""
        still = torch.zeros_like(full_pose)
        still[:, self.joints] = full_pose[:, self.joints]
        vertices, joints = self.body(BodyPose(betas, expression, still, betas.new_zeros(len(betas), 3)), self.rows)
        return vertices - joints[:, self.head, None]

    def posed(self, pose: BodyPose) -> Float[Tensor, "B N 3"]:
        """Faces in the world, metres."""
        return self.body(pose, self.rows)[0]

    def size(self, neutral: Float[Tensor, "B N 3"]) -> Float[Tensor, " B"]:
        """Distance between the middles of the eyes, metres: the unit of a face's motion."""
        left, right = (neutral[:, self.part(f"{side}_eye")].mean(1) for side in ("left", "right"))
        return (left - right).norm(dim=-1)
