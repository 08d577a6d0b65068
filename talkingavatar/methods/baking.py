"""What a family's Gaussians hang on, brought into the one form of all baked avatars (`networks.baked`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import axis_angle_to_matrix, matrix_to_quat
from talkingavatar.networks.baked import Baked, Grid, Moment, Skeleton, Skin, Weights, posed
from talkingavatar.networks.footing import Footing
from talkingavatar.networks.skin_surface import SkinGradient
from talkingavatar.networks.skinning import SkinningField
from talkingavatar.types import BodyPose, DrivingSignal, Gaussians

MOST = 8  # joints a Gaussian
CHUNK = 16  # expressions whose gradients are made at once


@dataclass(frozen=True)
class Skinned:
    """How skin carries a family's Gaussians, over the V vertices that they stand on."""

    footing: Footing
    resting: Float[Tensor, "N 3"]  # where they stand, metres
    stretched: Bool[Tensor, " N"]  # which of them are turned and stretched as the skin is
    offsets: Float[Tensor, "V 3 E"]  # of the vertices, of each expression
    constant: Float[Tensor, "V 3"]  # of the same, of none: turns and stretches, but moves what is said to stand there
    gradient: SkinGradient | None  # None: nothing is stretched
    posedirs: Float[Tensor, "V 3 P"] | None  # of the same, of each number of the joints' R - 1 from the second on


@dataclass(frozen=True)
class Baking:
    """A baked avatar and what drives it."""

    avatar: Baked
    pose: Callable[[DrivingSignal], BodyPose]  # tracked, mapped or refined
    coefficients: Callable[[DrivingSignal], Float[Tensor, "T R"]]  # of the residual

    @torch.no_grad()
    def moments(self, signal: DrivingSignal) -> Moment:
        """What the avatar does in each frame."""
        learned = len(signal) > 1 and bool((signal.frame >= 0).any())
        # Of a training frame's pose more may be known: it is asked for by itself.
        poses = [self.pose(signal[t : t + 1]) for t in range(len(signal))] if learned else [self.pose(signal)]
        pose = BodyPose.cat(poses)
        quats = matrix_to_quat(axis_angle_to_matrix(pose.full_pose))
        return Moment(quats, pose.transl, pose.expression, self.coefficients(signal))


def poser(avatar: Baked) -> Callable[[Moment], list[Gaussians]]:
    """What gives world-space Gaussians of each of some moments: `networks.baked.posed`, compiled where that can be."""
    means = avatar.gaussians.means
    if means.device.type == "cpu" and means.dtype == torch.float32:
        from talkingavatar.networks.cpu.poser import Poser

        return Poser(avatar)
    return lambda moments: [posed(avatar, moments[t : t + 1]) for t in range(len(moments))]


def not_baked(family: str) -> UserError:
    """What says that a family has no such form."""
    action = "use videos and stills, which need none"
    return UserError("run", f"an avatar of {family}", "one of a family whose Gaussians go with a skin", action)


def no_coefficients(signal: DrivingSignal) -> Float[Tensor, "T 0"]:
    """Of an avatar without residual."""
    return signal.pose.transl[:, :0]


def baked_skeleton(body: Body, betas: Float[Tensor, " S"], anchor: tuple[Tensor, Tensor] | None = None) -> Skeleton:
    """The joints of a person of this shape.

    Args:
        anchor: of `Skeleton`, and how much of the body's place it takes part in.
    """
    count = body.expressiondirs.shape[2]
    joints = body.rest_joints(betas[None])[0]
    each = body.rest_joints(betas.expand(count, -1), torch.eye(count, device=betas.device)) - joints
    directions = each.permute(1, 2, 0).contiguous() if each.any() else None
    parents = torch.tensor([p if j else -1 for j, p in enumerate(body.parents)], dtype=torch.int32)
    standing, follow = (None, None) if anchor is None else anchor
    return Skeleton(parents, joints, directions, standing, follow)


def sparse_weights(dense: Float[Tensor, "N J"]) -> Weights:
    """The largest of each row (what a grid misses of a vertex makes some negative), made to sum to one."""
    few = few_joints(dense)
    return Weights(few.joints, few.values / few.values.sum(1, keepdim=True))


def few_joints(dense: Float[Tensor, "N J"]) -> Weights:
    """The largest of each row."""
    joints = dense.abs().topk(min(MOST, dense.shape[1]), dim=1).indices
    values = dense.gather(1, joints)
    return Weights(torch.where(values == 0, 0, joints).int(), values)


def baked_grid(field: SkinningField, rows: Int[Tensor, " g"], points: Float[Tensor, "P 3"]) -> Grid:
    """The part of a field in which these points lie, and a voxel round it.

    Args:
        rows: of the Gaussians that have come to these points.
    """
    last = torch.tensor(field.node_of_voxel.shape, device=points.device) - 1
    step = (field.upper - field.lower) / last
    place = (points - field.lower) / step
    low = (place.amin(0).floor().long() - 1).clamp_min(0).minimum(last - 1)
    high = (place.amax(0).ceil().long() + 1).minimum(last).maximum(low + 1)
    x, y, z = (slice(first, end + 1) for first, end in zip(low.tolist(), high.tolist(), strict=True))
    nodes, numbers = field.node_of_voxel[x, y, z].unique(return_inverse=True)
    told = sparse_weights(field.node_weights()[nodes])
    return Grid(rows.int(), field.lower + low * step, step, numbers.int(), told.joints, told.values)


def posedirs_of(body: Body, more: int = 0) -> Float[Tensor, "V 3 P"] | None:
    """Pose correctives by vertex, of the body's and so many more that have none."""
    if body.posedirs is None:
        return None
    by_vertex = body.posedirs.unflatten(1, (-1, 3)).permute(1, 2, 0)
    return torch.cat([by_vertex, by_vertex.new_zeros(more, *by_vertex.shape[1:])])


def baked_skin(skinned: Skinned) -> Skin:
    """Rows are the vertices that carry Gaussians and ever move, those with a part in expressions first.

    A vertex is there twice where Gaussians stand on it some of which are stretched with it and some not.
    """
    corners, shares = _in_threes(skinned.footing)
    expressed = skinned.offsets.flatten(1).any(1)
    moved = expressed if skinned.posedirs is None else expressed | skinned.posedirs.flatten(1).any(1)
    stretched = skinned.stretched[:, None].expand_as(corners)
    keys = corners + len(expressed) * ~stretched
    live = (shares != 0) & (stretched | moved[corners])
    used = keys[live].unique()
    vertex, turned = used % len(expressed), used < len(expressed)
    part = turned | expressed[vertex]
    order = (~part).int().argsort(stable=True)
    row = torch.full((2 * len(expressed),), -1, device=keys.device)
    row[used[order]] = torch.arange(len(used), device=keys.device)
    vertex, turned = vertex[order], turned[order]
    some = int(part.sum())
    pose = {} if skinned.posedirs is None else _pose_part(skinned.posedirs, vertex)
    numbers = torch.where(live, row[keys], -1).int()
    return Skin(numbers, shares, skinned.resting, **_stretching(skinned, vertex[:some], turned[:some]), **pose)


def _in_threes(footing: Footing) -> tuple[Tensor, Tensor]:
    missing = 3 - footing.corners.shape[1]
    return torch.nn.functional.pad(footing.corners, (0, missing)), torch.nn.functional.pad(footing.shares, (0, missing))


def _stretching(skinned: Skinned, vertex: Tensor, turned: Tensor) -> dict[str, Tensor]:
    """Basis, base, tangents and normals of rows; those that do not turn have any frame, which stays."""
    offsets, gradient = skinned.offsets, skinned.gradient
    count, expressions = len(vertex), offsets.shape[2]
    basis = offsets.new_zeros(count, 9, expressions)
    basis[:, :3] = offsets[vertex]
    frame = torch.eye(3, device=offsets.device)
    tangents, normals = frame[:, :2].repeat(count, 1, 1), frame[2].repeat(count, 1)
    base = tangents.clone()
    if gradient is not None:
        rows = gradient.row[vertex[turned]]
        tangents[turned], normals[turned] = gradient.tangents[rows], gradient.normals[rows]
        base[turned] = gradient.tangents_of(skinned.constant)[rows]
        for e in range(expressions):
            basis[turned, 3:, e] = (gradient.tangents_of(offsets[..., e]) - gradient.tangents)[rows].flatten(1)
    return {"basis": basis, "base": base, "tangents": tangents, "normals": normals}


def _pose_part(posedirs: Float[Tensor, "V 3 P"], vertex: Tensor) -> dict[str, Tensor]:
    """Of the numbers of R - 1 that do something there."""
    there = posedirs[vertex]
    told = there.flatten(0, 1).any(0).nonzero()[:, 0]
    features = torch.stack([1 + told // 9, told % 9 // 3, told % 3], 1)
    return {"pose_basis": there[..., told].contiguous(), "pose_features": features.int()}
