"""The mesh that carries Gaussians: a body's own and, under a body that is a head alone, a bust to stand on.

A head model ends at the neck. What a picture shows below would float if it hung on nothing and tear if it hung on the
head: here rows of triangles go from the neck's edge over the shoulders down the chest. The first row moves with the
root joint, the last ones do not turn with it; in between they blend.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from talkingavatar.body.body import Body
from talkingavatar.geometry.rotations import axis_angle_to_matrix, orthonormalise
from talkingavatar.types import BodyPose

ROWS = 14  # of the bust
SHOULDERS = 0.6  # share of the rows that go over the shoulders; the others go down the chest
HALF_WIDTH, HALF_DEPTH = 0.24, 0.12  # metres, at the shoulders
SLOPE, CHEST = 0.08, 0.28  # metres from the neck's edge down to the shoulders, and from there to the last row
STILL = 0.4  # share of the rows over which the turning of the root is lost


class Figure(nn.Module):
    """A body's triangles, and those of a bust where the body has no shoulders.

    `follow` is learned: how much of the root joint's travel the shoulders take part in (1 all, 0 none).
    """

    faces: Int[Tensor, "F 3"]
    bust: Float[Tensor, "W 3"]  # rest positions of its vertices; W = 0 without one
    weights: Float[Tensor, "V J1"]  # skinning: to the body's joints, and to the shoulders, which do not turn
    root_at_rest: Float[Tensor, " 3"]
    mean_root: Float[Tensor, " 3"]  # of the clip, metres
    mean_turn: Float[Tensor, "3 3"]

    def __init__(self, body: Body, clip: BodyPose) -> None:
        """`clip`: the poses the figure is to be seen in; their shape, and the mean of their roots, place the bust."""
        super().__init__()
        self.body = body
        self.follow = nn.Parameter(torch.ones(()))
        shaped = body.v_template + body.shapedirs @ clip.betas[0]
        rows, faces = torch.zeros(0, 3), body.faces
        still = torch.zeros(0)
        if "left_collar" not in body.joint_names:
            ring = neck_edge(body)
            rows, still = _rows(shaped[ring])
            faces = torch.cat([faces, _row_faces(shaped, ring, rows)])
        root = body.rest_joints(clip.betas[:1])[0, 0]
        turns = axis_angle_to_matrix(clip.full_pose[:, 0])
        weights = torch.zeros(len(shaped) + len(rows), body.weights.shape[1] + 1)
        weights[: len(shaped), :-1] = body.weights
        weights[len(shaped) :, 0], weights[len(shaped) :, -1] = 1 - still, still
        for name, value in {
            "faces": faces,
            "bust": rows,
            "weights": weights,
            "root_at_rest": root,
            "mean_root": root + clip.transl.mean(0),
            "mean_turn": orthonormalise(turns.mean(0)),
        }.items():
            self.register_buffer(name, value, persistent=False)

    @property
    def bust_faces(self) -> slice:
        """Rows of `faces` that are the bust's."""
        return slice(len(self.body.faces), len(self.faces))

    def resting(self, betas: Float[Tensor, " S"]) -> Float[Tensor, "V 3"]:
        """A person's vertices where nothing moves, metres."""
        return torch.cat([self.body.v_template + self.body.shapedirs @ betas, self.bust])

    def transforms(self, pose: BodyPose) -> Float[Tensor, "J1 3 4"]:
        """What carries the resting figure into world space in one frame's pose, for each column of `weights`."""
        joints = self.body.joint_transforms(pose.betas, pose.full_pose, pose.expression)[0, :, :3]
        # Weights sum to one, so the body's translation may as well be each joint's.
        joints = torch.cat([joints[..., :3], joints[..., 3:] + pose.transl[0, :, None]], -1)
        standing = self.standing_at_rest()
        place = standing[:, 3:] + self.follow * pose.transl[0, :, None]
        return torch.cat([joints, torch.cat([standing[:, :3], place], 1)[None]])

    def standing_at_rest(self) -> Float[Tensor, "3 4"]:
        """What carries the shoulders of a body that stays where it rests; they take `follow` of its place."""
        root = self.mean_root + self.follow * (self.root_at_rest - self.mean_root)
        return torch.cat([self.mean_turn, (root - self.mean_turn @ self.root_at_rest)[:, None]], 1)

    def forward(self, pose: BodyPose) -> Float[Tensor, "V 3"]:
        """Vertices of one frame's pose in world space, metres."""
        vertices = self.body(pose)[0][0]
        if not len(self.bust):
            return vertices
        maps = (self.weights[len(vertices) :] @ self.transforms(pose).flatten(1)).unflatten(1, (3, 4))
        return torch.cat([vertices, (maps[..., :3] @ self.bust[..., None])[..., 0] + maps[..., 3]])


def neck_edge(body: Body) -> Int[Tensor, " n"]:
    """Vertices round the neck's open end, in order: the lowest of the mesh's boundaries."""
    edges = torch.cat([body.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    _, place, count = torch.unique(edges.sort(1).values, dim=0, return_inverse=True, return_counts=True)
    following = dict(edges[count[place] == 1].tolist())
    loops = []
    while following:
        first = next(iter(following))
        loop = [first]
        while (after := following.pop(loop[-1], None)) not in (None, first):
            loop.append(after)
        loops.append(torch.tensor(loop))
    closed = [loop for loop in loops if len(loop) > 2]
    return min(closed, key=lambda loop: float(body.v_template[loop, 1].mean()))


def _rows(ring: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "W 3"], Float[Tensor, " W"]]:
    """Rest positions of all rows below the ring, the ring's own first, and how still each vertex is."""
    centre = (ring.amax(0) + ring.amin(0)) / 2
    out = ring - centre
    wide, deep = (float(target / out[:, axis].abs().max()) for target, axis in ((HALF_WIDTH, 0), (HALF_DEPTH, 2)))
    rows, still = [], []
    for share in torch.linspace(0, 1, ROWS + 1).tolist():
        over, down = min(1.0, share / SHOULDERS), max(0.0, (share - SHOULDERS) / (1 - SHOULDERS))
        grown = out * torch.tensor([1 + (wide - 1) * over, 1 - over, 1 + (deep - 1) * over])
        rows.append(centre + grown - torch.tensor([0.0, SLOPE * over**1.5 + CHEST * down, 0.0]))
        blend = min(1.0, share / STILL)
        still.append(torch.full((len(ring),), blend * blend * (3 - 2 * blend)))
    return torch.cat(rows), torch.cat(still)


def _row_faces(shaped: Float[Tensor, "V 3"], ring: Int[Tensor, " n"], rows: Float[Tensor, "W 3"]) -> Int[Tensor, "F 3"]:
    """Two triangles between each pair of neighbours of two rows, normals outwards; vertices come after the body's."""
    count = len(ring)
    numbers = len(shaped) + torch.arange(len(rows)).unflatten(0, (-1, count))
    quads = []
    for upper, lower in pairwise(numbers):
        quads.append(torch.stack([upper, lower, lower.roll(-1), upper.roll(-1)], 1))
    triangles = torch.cat(quads)[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    a, b, c = rows[triangles - len(shaped)].unbind(1)
    outwards = (torch.linalg.cross(b - a, c - a) * (a - rows.mean(0))).sum() > 0
    return triangles if outwards else triangles.flip(1)
