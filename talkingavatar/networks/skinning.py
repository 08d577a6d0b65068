"""Skinning weights on a voxel grid, with a learnable residual (THGS eqs 6, 7, 18)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn.functional import embedding


class SkinningField(nn.Module):
    """Blends joint transforms at any point of canonical space.

    Weights live on an R^3 grid; the grid that is queried is (V + dV) / sum_k (V + dV), clamped above zero so that it is
    a convex combination. Only nodes in `active` are stored: an inactive node borrows its nearest active one, which no
    Gaussian near the body ever sees. Because interpolation and blending are both linear, transforms are blended at the
    nodes and 12 numbers are interpolated, not 55 weights: the same result at a fifth of the work.
    """

    weights: Tensor
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
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("node_of_voxel", node_of_voxel.long(), persistent=False)
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("upper", upper, persistent=False)
        size = node_of_voxel.shape[0]
        corners = [[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
        offsets = torch.tensor([(x * size + y) * size + z for x, y, z in corners])
        self.register_buffer("corner_offsets", offsets, persistent=False)
        self.residual = nn.Parameter(torch.zeros_like(weights))

    @staticmethod
    def from_grid(
        weights: Float[Tensor, "J R R R"],
        lower: Float[Tensor, " 3"],
        upper: Float[Tensor, " 3"],
        vertices: Float[Tensor, "V 3"],
        band: float = 0.05,
    ) -> SkinningField:
        """Keep the nodes within `band` metres of the template; `weights[:, z, y, x]` as `body.surface` makes them."""
        size = weights.shape[1]
        sides = [np.linspace(float(a), float(b), size) for a, b in zip(lower, upper, strict=True)]
        nodes = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 3)
        near = cKDTree(vertices.double().numpy(force=True)).query(nodes, distance_upper_bound=band)[0] < np.inf
        active = np.flatnonzero(near)
        row = cKDTree(nodes[active]).query(nodes, workers=-1)[1]
        by_node = weights.permute(3, 2, 1, 0).reshape(size**3, -1)
        node_of_voxel = torch.from_numpy(row).reshape(size, size, size)
        return SkinningField(by_node[torch.from_numpy(active)], node_of_voxel, lower, upper)

    def node_weights(self) -> Float[Tensor, "A J"]:
        """The renormalised grid V-hat (eq. 18)."""
        if not self.residual.requires_grad and not self.residual.any():
            return self.weights
        summed = (self.weights + self.residual).clamp_min(1e-8)
        return summed / summed.sum(-1, keepdim=True)

    def weights_at(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N J"]:
        """Interpolated weights themselves."""
        corners, shares = self.interpolation(points)
        return (self.node_weights()[corners] * shares[..., None]).sum(1)

    def forward(self, points: Float[Tensor, "N 3"], transforms: Float[Tensor, "J 4 4"]) -> Float[Tensor, "N 3 4"]:
        """Blended [rotation | translation] at canonical `points` (metres); points outside use the border."""
        corners, shares = self.interpolation(points)
        nodes = self.node_weights() @ transforms[:, :3].flatten(1)
        return (embedding(corners, nodes) * shares[..., None]).sum(1).unflatten(-1, (3, 4))

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
