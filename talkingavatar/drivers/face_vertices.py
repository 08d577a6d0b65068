"""A face's motion in the principal components of its vertices' offsets: what EmoDiffTalk draws (methods D.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.body.pose_parts import PoseParts

STEP = 0.1  # of each parameter, radians or coefficient, at which the face is asked how it moves
UNFELT = 1e-3  # of the largest move: what moves less keeps a number of its own


class Components(NamedTuple):
    """Of a pose's parts."""

    turn: Float[Tensor, "P P"]
    kinds: list[int]  # how many of them, one after the other, compare with each other


@torch.no_grad()
def vertex_components(body: Body, parts: PoseParts, rows: Float[Tensor, "T P"]) -> Components:
    """What turns rows of a pose's parts into components of the face's offsets, the widest first.

    The face is what expressions move; its offsets are taken to first order, the head held still. A component is in
    metres, root mean square over the vertices. Eyes and head, which move none of them, follow as they are.

    Args:
        rows: of the frames whose components they are.
    """
    moves = _moves(body, parts)
    extent = moves.norm(dim=0)
    felt, unfelt = ((extent > UNFELT * extent.max()) == here for here in (True, False))
    # The triangle keeps the offsets' lengths and angles: their components are those of as few numbers as move them.
    triangle = torch.linalg.qr(moves[:, felt]).R
    _, axes = torch.linalg.eigh(torch.cov((rows[:, felt] @ triangle.T).T))
    count = int(felt.sum())
    turn = torch.zeros(len(parts), len(parts))
    turn[felt, :count] = triangle.T @ axes.flip(1)
    turn[unfelt, count:] = torch.eye(len(parts) - count)
    angles = int(unfelt[: 3 * len(parts.joints)].sum())
    return Components(turn, [number for number in (count, angles, len(parts) - count - angles) if number])


def _moves(body: Body, parts: PoseParts) -> Float[Tensor, "X P"]:
    """How far each parameter moves each coordinate of the face, metres over the root of the vertices' number."""
    face = body.expressiondirs.flatten(1).any(1).nonzero()[:, 0]
    still = body.zero_pose(len(parts))
    moved = body(parts.write(still, STEP * torch.eye(len(parts))), face)[0] - body(still, face)[0]
    jaw = body.joint_names.index("jaw")
    others = [3 * n + axis for n, joint in enumerate(parts.joints.tolist()) if joint != jaw for axis in range(3)]
    moved[others] = 0
    return moved.flatten(1).T / STEP / len(face) ** 0.5
