"""A baked avatar: arrays and a few lines of arithmetic that say what a fitted one does, without the networks behind it.

What moves is told by a *moment*: a quaternion a joint, the body's place, expression coefficients, and how far along
each of its own directions the residual goes. All but joints, normals and activations is linear in it, so that a browser
or one pass of a compiled kernel (`networks.cpu.baked`) gives a frame. The arithmetic here is the truth of both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from talkingavatar.geometry.rotations import matrix_to_quat, orthonormalise, quat_multiply, quat_to_matrix
from talkingavatar.networks.footing import FAR, NEAR
from talkingavatar.networks.skin_surface import stretched
from talkingavatar.types import FrameTree, Gaussians, TensorTree

ATTRIBUTES = {"means": 3, "quats": 4, "log_scales": 3, "sh": 3, "opacities": 1}  # the residual's, in its order
# Of the change of a log scale by sound: twice as large. What fills an open mouth is hidden by the head for a camera in
# front, so that nothing there keeps it from growing out of the cheeks.
MOST_WIDER = 0.6931472


@dataclass(frozen=True)
class Moment(FrameTree):
    """What a frame needs, for B frames."""

    quats: Float[Tensor, "B J 4"]  # of each joint against its parent, (w, x, y, z), unit
    transl: Float[Tensor, "B 3"]  # metres
    expression: Float[Tensor, "B E"]
    residual: Float[Tensor, "B R"]  # R = 0 without one

    def __len__(self) -> int:
        return len(self.quats)


@dataclass(frozen=True)
class Resting(TensorTree):
    """Gaussians where nothing moves, raw."""

    means: Float[Tensor, "N 3"]  # metres
    quats: Float[Tensor, "N 4"]  # of any length: the residual adds to them
    log_scales: Float[Tensor, "N 3"]
    opacities: Float[Tensor, " N"]  # logits
    sh: Float[Tensor, "N S 3"]
    open_sided: Bool[Tensor, " N"] | None = None  # drawn from behind, too; None: all are
    inside: Bool[Tensor, " N"] | None = None  # drawn deeper than it lies; None: none is


@dataclass(frozen=True)
class Skeleton(TensorTree):
    """Joints of one person, parents before their children."""

    parents: Int[Tensor, " J"]  # -1: none
    joints: Float[Tensor, "J 3"]  # at rest, metres
    directions: Float[Tensor, "J 3 E"] | None = None  # of the joints with the expression
    anchor: Float[Tensor, "3 4"] | None = None  # a further transform, that does not turn (`body.bust`)
    follow: Float[Tensor, " 1"] | None = None  # how much of the body's place it takes part in


@dataclass(frozen=True)
class Weights(TensorTree):
    """Skinning of each Gaussian; number J is the anchor."""

    joints: Int[Tensor, "N W"]
    values: Float[Tensor, "N W"]  # sum to one; to nothing where a `Grid` has the rest


@dataclass(frozen=True)
class Grid(TensorTree):
    """Skinning that some Gaussians have from where skin and residual take them: of voxels, trilinear in between."""

    rows: Int[Tensor, " g"]  # of the Gaussians
    lower: Float[Tensor, " 3"]  # where voxel (0, 0, 0) is, metres
    step: Float[Tensor, " 3"]  # from one to the next
    nodes: Int[Tensor, "X Y Z"]  # of each voxel, among the D that are told
    joints: Int[Tensor, "D Q"]
    values: Float[Tensor, "D Q"]  # sum to one

    def blended(self, points: Float[Tensor, "g 3"], carriers: Float[Tensor, "_ 12"]) -> Float[Tensor, "g 12"]:
        """What carries the Gaussians that have come to these points; beyond the voxels, what does at their border."""
        told = (self.values[..., None] * carriers[self.joints.long()]).sum(1)
        last = torch.tensor(self.nodes.shape, device=points.device) - 1
        place = ((points - self.lower) / self.step).clamp_min(0).minimum(last)
        low = place.floor().minimum(last - 1)
        x_shares, y_shares, z_shares = torch.stack([1 + low - place, place - low], 1).unbind(2)
        x, y, z = low.long().unbind(1)
        blend = carriers.new_zeros(len(points), carriers.shape[1])
        for i, j, k in product((0, 1), repeat=3):
            shares = x_shares[:, i] * y_shares[:, j] * z_shares[:, k]
            blend = blend + shares[:, None] * told[self.nodes[x + i, y + j, z + k].long()]
        return blend


@dataclass(frozen=True)
class Skin(TensorTree):
    """What expressions do to the places where Gaussians stand. The first S of M rows have a part in expressions."""

    corners: Int[Tensor, "N 3"]  # rows; -1: one that never moves
    shares: Float[Tensor, "N 3"]
    resting: Float[Tensor, "N 3"]  # where each Gaussian stands
    basis: Float[Tensor, "S 9 E"]  # offset (metres), and change of both tangents (3 2)
    base: Float[Tensor, "S 3 2"]  # tangents where all coefficients are zero
    tangents: Float[Tensor, "S 3 2"]  # of the skin at rest, orthonormal, with
    normals: Float[Tensor, "S 3"]
    pose_basis: Float[Tensor, "M 3 F"] | None = None  # further offset with the pose: of R - 1 in each joint's
    pose_features: Int[Tensor, "F 3"] | None = None  # joint, row, column

    def __len__(self) -> int:
        return len(self.basis if self.pose_basis is None else self.pose_basis)


@dataclass(frozen=True)
class Residual(TensorTree):
    """Changes of some Gaussians' raw attributes: in proportion to coefficients, or `most` x tanh of that."""

    basis: Float[Tensor, "n C R"]
    rows: Int[Tensor, " n"]  # of the Gaussians
    columns: Int[Tensor, " C"]  # among `ATTRIBUTES`, of which there are 14
    first: Int[Tensor, " n"] | None = None  # of its R coefficients among a moment's; None: 0
    most: Float[Tensor, " C"] | None = None
    turns: Float[Tensor, "n 4"] | None = None  # unit; turns the quaternion's change (from the left)


@dataclass(frozen=True)
class Listener(TensorTree):
    """What a sound does to some Gaussians' means, quaternions and log scales: a network of three hidden layers (ReLU).

    What is heard are the last A of a moment's coefficients.
    """

    rows: Int[Tensor, " m"]  # of the Gaussians
    places: Float[Tensor, "m H"]  # what the first layer has of where each lies
    ears: Float[Tensor, "m A"]  # how much each hears of every channel
    first: Float[Tensor, "H A"]
    second: Float[Tensor, "H H"]
    second_bias: Float[Tensor, " H"]
    third: Float[Tensor, "H H"]
    third_bias: Float[Tensor, " H"]
    last: Float[Tensor, "O H"]  # O = 10: of the first of `ATTRIBUTES`
    last_bias: Float[Tensor, " O"]

    def changes(self, coefficients: Float[Tensor, " R"]) -> Float[Tensor, "m O"]:
        """Of the raw attributes."""
        heard = coefficients[-self.ears.shape[1] :]
        hidden = torch.addmm(self.places, self.ears * heard, self.first.mT).relu()
        hidden = torch.addmm(self.second_bias, hidden, self.second.mT).relu()
        hidden = torch.addmm(self.third_bias, hidden, self.third.mT).relu()
        changes = torch.addmm(self.last_bias, hidden, self.last.mT)
        return torch.cat([changes[:, :7], changes[:, 7:].clamp(max=MOST_WIDER)], 1)


@dataclass(frozen=True)
class Latents(TensorTree):
    """What each of some hidden directions of what drives a family adds to a moment, linear between its places."""

    places: Float[Tensor, " P"]  # standard deviations, rising
    turns: Float[Tensor, "L P J 3"]  # of joints, as axis-angles
    expression: Float[Tensor, "L P E"]
    residual: Float[Tensor, "L P R"]


@dataclass(frozen=True)
class Baked(TensorTree):
    """A whole avatar."""

    gaussians: Resting
    skeleton: Skeleton
    weights: Weights
    skin: Skin
    residual: Residual | None = None
    grid: Grid | None = None
    listener: Listener | None = None
    latents: Latents | None = None  # of a family that is driven by such

    def __len__(self) -> int:
        return len(self.gaussians.means)


def posed(avatar: Baked, moment: Moment) -> Gaussians:
    """World-space Gaussians of a moment (B = 1), in torch's own operations, on any device."""
    raw, skin = changed(avatar, moment.residual[0]), avatar.skin
    offsets, stretch = moved_skin(skin, moment)
    height = raw.means - skin.resting
    near = ((FAR - height.norm(dim=-1)) / (FAR - NEAR)).clamp(0, 1)
    stretch = near[:, None, None] * _taken(skin, stretch.flatten(1)).unflatten(-1, (3, 3))
    quats, scales = stretched(raw.quats, raw.log_scales.exp(), torch.eye(3, device=height.device) + stretch)
    displaced = raw.means + _taken(skin, offsets)
    means = displaced + (stretch @ height[..., None])[..., 0]
    maps = _carried(avatar, displaced, transforms(avatar.skeleton, moment).flatten(1)).unflatten(-1, (3, 4))
    turns = matrix_to_quat(orthonormalise(maps[..., :3]))
    means = (maps[..., :3] @ means[..., None])[..., 0] + maps[..., 3]
    return Gaussians(means, quat_multiply(turns, quats), scales, raw.opacities.sigmoid(), raw.sh)


def _carried(avatar: Baked, displaced: Float[Tensor, "N 3"], carriers: Float[Tensor, "_ 12"]) -> Float[Tensor, "N 12"]:
    """The affine map of each Gaussian."""
    maps = (avatar.weights.values[..., None] * carriers[avatar.weights.joints.long()]).sum(1)
    if avatar.grid is None:
        return maps
    rows = avatar.grid.rows.long()
    return maps.index_add(0, rows, avatar.grid.blended(displaced[rows], carriers))


def changed(avatar: Baked, coefficients: Float[Tensor, " R"]) -> Resting:
    """The resting Gaussians with what the residual does to them."""
    raw, residual = _listening(avatar, coefficients), avatar.residual
    if residual is None:
        return raw
    change = raw.means.new_zeros(len(avatar), sum(ATTRIBUTES.values()))
    rows, columns = residual.rows.long(), residual.columns.long()
    change[rows[:, None], columns] = _changes(residual, coefficients)
    means, quats, log_scales, sh, opacities = change.split(list(ATTRIBUTES.values()), 1)
    if residual.turns is not None:
        quats = quats.index_copy(0, rows, quat_multiply(residual.turns, quats[rows]))
    return Resting(
        raw.means + means,
        raw.quats + quats,
        raw.log_scales + log_scales,
        raw.opacities + opacities[:, 0],
        torch.cat([raw.sh[:, :1] + sh[:, None], raw.sh[:, 1:]], 1),
    )


def _listening(avatar: Baked, coefficients: Float[Tensor, " R"]) -> Resting:
    raw, listener = avatar.gaussians, avatar.listener
    if listener is None:
        return raw
    rows = listener.rows.long()
    means, quats, log_scales = listener.changes(coefficients).split([3, 4, 3], 1)
    return replace(
        raw,
        means=raw.means.index_add(0, rows, means),
        quats=raw.quats.index_add(0, rows, quats),
        log_scales=raw.log_scales.index_add(0, rows, log_scales),
    )


def _changes(residual: Residual, coefficients: Float[Tensor, " R"]) -> Float[Tensor, "n C"]:
    if residual.first is None:
        amounts = residual.basis @ coefficients
    else:
        own = residual.first.long()[:, None] + torch.arange(residual.basis.shape[2], device=coefficients.device)
        amounts = (residual.basis @ coefficients[own][..., None])[..., 0]
    return amounts if residual.most is None else residual.most * amounts.tanh()


def moved_skin(skin: Skin, moment: Moment) -> tuple[Float[Tensor, "M 3"], Float[Tensor, "M 3 3"]]:
    """Offsets of the rows, metres, and how the skin there has turned and stretched, less the unit."""
    moved = skin.basis @ moment.expression[0]
    tangents = skin.base + moved[:, 3:].unflatten(-1, (3, 2))
    normals = normalize(torch.linalg.cross(tangents[..., 0], tangents[..., 1]), dim=-1)
    gradient = tangents @ skin.tangents.mT + normals[..., None] * skin.normals[:, None]
    further = len(skin) - len(moved)
    offsets = torch.cat([moved[:, :3], moved.new_zeros(further, 3)])
    if skin.pose_basis is not None and skin.pose_features is not None:
        offsets = offsets + pose_offsets(skin.pose_basis, skin.pose_features, moment.quats[0])
    stretch = gradient - torch.eye(3, device=moved.device)
    return offsets, torch.cat([stretch, stretch.new_zeros(further, 3, 3)])


def pose_offsets(
    basis: Float[Tensor, "M 3 F"], features: Int[Tensor, "F 3"], quats: Float[Tensor, "J 4"]
) -> Float[Tensor, "M 3"]:
    """What the joints' turning adds to the rows' offsets, metres."""
    return basis @ pose_features(features, quats)


def pose_features(features: Int[Tensor, "F 3"], quats: Float[Tensor, "*B J 4"]) -> Float[Tensor, "*B F"]:
    """How far the joints have turned, by the numbers that are told of them."""
    joint, row, column = features.long().unbind(1)
    turns = quat_to_matrix(quats) - torch.eye(3, device=quats.device)
    return turns[..., joint, row, column]


def _taken(skin: Skin, values: Float[Tensor, "M C"]) -> Float[Tensor, "N C"]:
    """What the Gaussians take of the rows' values; number -1 is the last row, of zeros."""
    values = torch.cat([values, values.new_zeros(1, values.shape[1])])
    return (skin.shares[..., None] * values[skin.corners.long()]).sum(1)


def transforms(skeleton: Skeleton, moment: Moment) -> Float[Tensor, "_ 3 4"]:
    """What carries the resting body into the world, for each joint and the anchor, if there is one."""
    joints, place = skeleton.joints, moment.transl[0]
    if skeleton.directions is not None:
        joints = joints + skeleton.directions @ moment.expression[0]
    local = quat_to_matrix(moment.quats[0])
    turned: list[Tensor] = []
    placed: list[Tensor] = []
    for j, parent in enumerate(skeleton.parents.tolist()):
        turned.append(local[j] if parent < 0 else turned[parent] @ local[j])
        placed.append(joints[j] if parent < 0 else placed[parent] + turned[parent] @ (joints[j] - joints[parent]))
    rotations = torch.stack(turned)
    moved = torch.stack(placed) - (rotations @ joints[..., None])[..., 0] + place
    maps = torch.cat([rotations, moved[..., None]], -1)
    if skeleton.anchor is None or skeleton.follow is None:
        return maps
    standing = skeleton.anchor[:, 3] + skeleton.follow * place
    return torch.cat([maps, torch.cat([skeleton.anchor[:, :3], standing[:, None]], 1)[None]])
