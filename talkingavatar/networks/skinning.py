"""Skinning weights on a voxel grid, with a learnable residual (THGS eqs 6, 7, 18)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from talkingavatar.networks.footing import NOWHERE, Footing

LEAST = 1e-8  # a weight before they are made to sum to one; what a row's other joints would have is left out


class SparseWeights(nn.Module):
    """Weights of each of R rows for a few of the J joints; the others are zero and stay so."""

    starts: Int[Tensor, " R1"]  # where each row begins among the entries; the last is their number
    rows: Int[Tensor, " E"]  # of each entry
    joints: Int[Tensor, " E"]
    values: Float[Tensor, " E"]

    def __init__(self, dense: Float[Tensor, "R J"]) -> None:
        super().__init__()
        row, joint = (dense.abs() > LEAST).nonzero().unbind(1)
        counts = torch.bincount(row, minlength=len(dense))
        self.register_buffer("starts", torch.cat([counts.new_zeros(1), counts.cumsum(0)]), persistent=False)
        self.register_buffer("rows", row, persistent=False)
        self.register_buffer("joints", joint, persistent=False)
        self.register_buffer("values", dense[row, joint].clone(), persistent=False)
        self.width = dense.shape[1]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def dense(self, values: Float[Tensor, " E"]) -> Float[Tensor, "R J"]:
        """Entries with these values, all others zero."""
        return values.new_zeros(len(self), self.width).index_put((self.rows, self.joints), values)

    def blended(self, values: Float[Tensor, " E"], transforms: Float[Tensor, "J C"]) -> Float[Tensor, "R C"]:
        """Each row's mean of the transforms with these weights."""
        terms = values[:, None] * transforms[self.joints]
        return terms.new_zeros(len(self), transforms.shape[1]).index_add(0, self.rows, terms)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Starts, joints and values for compiled code."""
        return self.starts.numpy(), self.joints.numpy(), self.values.numpy()


class SkinningField(nn.Module):
    """Blends joint transforms at any point of canonical space.

    Weights live on an R^3 grid; the grid that is queried is (V + dV) / sum_k (V + dV), clamped above zero so that it is
    a convex combination. Only nodes in `active` are stored: an inactive node borrows its nearest active one, which no
    Gaussian near the body ever sees. And only joints that move a node at the start: at all others the clamp lets no
    gradient through to the residual. Because interpolation and blending are both linear, transforms are blended at the
    nodes and 12 numbers are interpolated: the same result at a fraction of the work.
    """

    node_of_voxel: Tensor
    lower: Tensor
    upper: Tensor
    corner_offsets: Tensor

    def __init__(
        self,
        weights: Float[Tensor, "A J"],
        node_of_voxel: Int[Tensor, "R R R"],
        lower: Float[Tensor, " 3"],
        upper: Float[Tensor, " 3"],
    ) -> None:
        """`weights` of the active nodes; `node_of_voxel[x, y, z]` the row to use; box corners in metres."""
        super().__init__()
        self.weights = SparseWeights(weights)
        self.register_buffer("node_of_voxel", node_of_voxel.long(), persistent=False)
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("upper", upper, persistent=False)
        size = node_of_voxel.shape[0]
        corners = [[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
        offsets = torch.tensor([(x * size + y) * size + z for x, y, z in corners])
        self.register_buffer("corner_offsets", offsets, persistent=False)
        self.residual = nn.Parameter(torch.zeros_like(self.weights.values))

    @staticmethod
    def from_grid(
        weights: Float[Tensor, "J R R R"], lower: Float[Tensor, " 3"], upper: Float[Tensor, " 3"]
    ) -> SkinningField:
        """`weights[:, z, y, x]` as `body.surface` makes them; nodes whose weights are all zero are inactive."""
        by_node = weights.permute(3, 2, 1, 0)
        active = by_node.any(-1)
        sides = ((upper - lower) / (weights.shape[1] - 1)).tolist()
        nearest = distance_transform_edt(~active.numpy(), sampling=sides, return_distances=False, return_indices=True)
        rows = active.flatten().cumsum(0).view(active.shape) - 1
        node_of_voxel = rows[tuple(torch.from_numpy(nearest).long())]
        return SkinningField(by_node[active], node_of_voxel, lower, upper)

    def convex(self) -> Float[Tensor, " E"]:
        """Entries of the renormalised grid V-hat (eq. 18)."""
        summed = (self.weights.values + self.residual).clamp_min(LEAST)
        rows = self.weights.rows
        totals = summed.new_zeros(len(self.weights)).index_add(0, rows, summed)
        return summed / totals[rows]

    def weights_at(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N J"]:
        """Interpolated weights themselves."""
        corners, shares = self.interpolation(points)
        return (self.node_weights()[corners] * shares[..., None]).sum(1)

    def node_weights(self) -> Float[Tensor, "A J"]:
        """Of the active nodes."""
        return self.weights.dense(self.convex())

    def forward(
        self,
        points: Float[Tensor, "N 3"],
        transforms: Float[Tensor, "J 3 4"],
        anchors: SparseWeights | None = None,
        footing: Footing | None = None,
    ) -> Float[Tensor, "N 3 4"]:
        """Blended [rotation | translation] at canonical `points` (metres); points outside use the border.

        Args:
            anchors: weights of vertices that are added to the grid's, at each point those of its `footing`.
        """
        motion = transforms.flatten(1)
        if points.device.type == "cpu" and points.dtype == torch.float32 and not points.requires_grad:
            from talkingavatar.networks.cpu.skin import Skin

            grid = (self.lower.numpy(), self.upper.numpy(), self.node_of_voxel.numpy())
            missing = None if anchors is None else anchors.arrays()
            read = NOWHERE if footing is None else footing
            maps = Skin.apply(self.weights.arrays(), grid, missing, *read, points, self.residual, motion)
            return maps.unflatten(-1, (3, 4))
        return self.plain(points, motion, anchors, footing)

    def plain(
        self,
        points: Float[Tensor, "N 3"],
        motion: Float[Tensor, "J 12"],
        anchors: SparseWeights | None,
        footing: Footing | None,
    ) -> Float[Tensor, "N 3 4"]:
        """`forward` in torch's own operations, on any device; differentiable in the points as well."""
        corners, shares = self.interpolation(points)
        nodes = self.weights.blended(self.convex(), motion)
        maps = (nodes[corners] * shares[..., None]).sum(1)
        if anchors is not None and footing is not None:
            maps = maps + footing.of(anchors.blended(anchors.values, motion))
        return maps.unflatten(-1, (3, 4))

    def interpolation(self, points: Float[Tensor, "N 3"]) -> tuple[Int[Tensor, "N 8"], Float[Tensor, "N 8"]]:
        """The 8 nodes round each point and their trilinear shares."""
        size = self.node_of_voxel.shape[0]
        position = (points - self.lower) / (self.upper - self.lower) * (size - 1)
        position = position.clamp(0, size - 1)
        low = position.detach().floor().clamp(max=size - 2)
        fraction = position - low
        low = low.long()
        flat = ((low[:, 0] * size + low[:, 1]) * size + low[:, 2])[:, None] + self.corner_offsets
        pairs = torch.stack([1 - fraction, fraction], -1)
        px, py, pz = pairs.unbind(1)
        shares = (px[:, :, None, None] * py[:, None, :, None] * pz[:, None, None, :]).flatten(1)
        return self.node_of_voxel.flatten()[flat], shares
