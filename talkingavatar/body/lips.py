"""A body's lips: where they are, how far they stand apart, and where a motion moves them."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.body.parts import LIPS
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.types import BodyPose


class LipRuler:
    """Measures how far apart the middles of the inner lips are, along the head's own vertical."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.head = body.parents[body.joint_names.index("jaw")]
        self.upper, self.lower = (_middle(body.regions[f"lip_inner_{side}"]) for side in ("upper", "lower"))

    @property
    def known(self) -> bool:
        """Whether the body knows its lips."""
        return bool(len(self.upper)) and bool(len(self.lower))

    @torch.no_grad()
    def of_body(self, pose: BodyPose) -> Float[ndarray, " B"]:
        """Opening in metres of the posed body; negative where the lips are pressed past each other."""
        parts = [self._of_vertices(pose[start : start + 32]) for start in range(0, len(pose), 32)]
        return torch.cat(parts).cpu().numpy()

    def carried(self, parent: Int[Tensor, " N"]) -> tuple[Int[Tensor, " u"], Int[Tensor, " l"]]:
        """The Gaussians whose parent vertices lie on the upper and on the lower inner lip."""
        upper, lower = (torch.isin(parent, lip).nonzero()[:, 0] for lip in (self.upper, self.lower))
        return upper, lower

    @torch.no_grad()
    def of_drawn(self, between: Float[Tensor, "T 3"], pose: BodyPose) -> Float[ndarray, " T"]:
        """Opening in metres of what is drawn: from the middle of the lower `carried` Gaussians to that of the upper."""
        parts = [pose[start : start + 32] for start in range(0, len(pose), 32)]
        return (between * torch.cat([self._up(part) for part in parts])).sum(-1).cpu().numpy()

    def _of_vertices(self, pose: BodyPose) -> Float[Tensor, " B"]:
        vertices, _ = self.body(pose, torch.cat([self.upper, self.lower]))
        upper, lower = vertices.split([len(self.upper), len(self.lower)], 1)
        return ((upper.mean(1) - lower.mean(1)) * self._up(pose)).sum(-1)

    def _up(self, pose: BodyPose) -> Float[Tensor, "B 3"]:
        return self.body.joint_transforms(pose.betas, pose.full_pose, pose.expression)[:, self.head, :3, 1]


@torch.no_grad()
def opening_lever(body: Body, betas: Float[Tensor, " S"]) -> tuple[Float[Tensor, "4 E"], Float[Tensor, " 4"]] | None:
    """What `LipRuler` measures of a body of this shape, in terms of its face.

    Of an expression e and the jaw's rotation R it is q[0] + R[1] @ q[1:], metres, with q = basis @ e + rest.

    The rest of the lips hangs on the head.

    Returns:
        basis, rest; None of a body that does not know its lips, or whose lips move with the pose otherwise.
    """
    ruler, jaw = LipRuler(body), body.joint_names.index("jaw")
    if not ruler.known or body.posedirs is not None:
        return None
    joint, joint_moves = body.rest_joints(betas[None])[0, jaw], body._joint_expressiondirs[jaw]

    def of_ring(ring: Int[Tensor, " n"]) -> Float[Tensor, "4 _"]:
        """Columns of all expressions, and of none: height that does not turn, and what turns with the jaw."""
        places = body.v_template[ring] + body.shapedirs[ring] @ betas
        whole = torch.cat([body.expressiondirs[ring], places[..., None]], 2)
        turned = body.weights[ring, jaw, None, None] * (whole - torch.cat([joint_moves, joint[:, None]], 1))
        return torch.cat([(whole - turned)[:, 1:2], turned], 1).mean(0)

    lever = of_ring(ruler.upper) - of_ring(ruler.lower)
    return lever[:, :-1], lever[:, -1]


def _middle(ring: Int[Tensor, " n"]) -> Int[Tensor, " m"]:
    """The middle third of a ring that runs from one corner of the mouth to the other."""
    return ring[len(ring) // 3 : len(ring) - len(ring) // 3]


def opening_of(body: Body, pose: BodyPose) -> Float[ndarray, " B"]:
    """Lip opening in metres; of a body that does not know its lips, the jaw's angle stands in."""
    ruler = LipRuler(body)
    return ruler.of_body(pose) if ruler.known else pose.full_pose[:, body.joint_names.index("jaw"), 0].numpy()


def lips_of(body: Body) -> Int[Tensor, " V"]:
    """Vertices of the lips; none of a body that does not know them."""
    return torch.cat([body.regions[name] for name in LIPS]).unique()


def still_lips(
    body: Body, parts: PoseParts, lips: Int[Tensor, " V"], values: Float[Tensor, "B P"], pose: BodyPose
) -> Float[Tensor, "B V 3"]:
    """Where the lips are (metres) in a pose with these values of some parts in it, the head held still."""
    still = replace(pose, full_pose=torch.zeros_like(pose.full_pose), transl=torch.zeros_like(pose.transl))
    return body(parts.write(still, values), lips)[0]
