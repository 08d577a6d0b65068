"""Gaussians bound to the triangles of a skin, and how the skin deforms where they are."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from talkingavatar.body.mesh_geometry import directed_edges, mean_incident_area, vertex_normals
from talkingavatar.geometry.rotations import matrix_to_quat, orthonormalise, quat_to_matrix
from talkingavatar.geometry.triangles import closest_on_triangles
from talkingavatar.networks.footing import FAR, NEAR, Footing
from talkingavatar.networks.kept import Kept
from talkingavatar.networks.placing import Local

RIDGE = 1e-4  # of the sum of squares of a vertex's edges, that keeps a fold of one line from a slope across it
STEPS = 64  # from triangle to neighbour that a Gaussian may walk at once


class SkinSurface(nn.Module):
    """The resting skin. A Gaussian walks from its triangle to that nearest to it, over the surface alone.

    So none comes from one lip to the other, or from a lid to the eye, however near these lie.
    """

    vertices: Tensor
    faces: Tensor
    spacing: Tensor
    normals: Tensor
    around: Tensor

    def __init__(self, vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> None:
        super().__init__()
        self.register_buffer("faces", faces, persistent=False)
        self.lie(vertices)
        self.register_buffer("around", _around(faces, len(vertices)), persistent=False)
        self._corners = Kept[Tensor]()

    def lie(self, vertices: Float[Tensor, "V 3"]) -> None:
        """Let the same triangles rest elsewhere."""
        self.register_buffer("vertices", vertices)
        # Side of the square that a vertex has for itself: half of the area of its six or so triangles.
        spacing = (2 * mean_incident_area(vertices, self.faces)).sqrt()
        self.register_buffer("spacing", spacing, persistent=False)
        self.register_buffer("normals", vertex_normals(vertices, self.faces), persistent=False)

    def first_faces(self) -> Int[Tensor, " V"]:
        """Some triangle of every vertex; of one that has none, the first."""
        found = self.faces.new_zeros(len(self.vertices))
        numbers = torch.arange(len(self.faces), device=found.device)
        return found.scatter(0, self.faces.flatten(), numbers.repeat_interleave(3))

    def footing(self, points: Float[Tensor, "N 3"], face: Int[Tensor, " N"]) -> Footing:
        """The point of each resting point's triangle that is nearest to it."""
        corners = self._corners.get(lambda: self.faces[face], face, graph=False)
        return Footing(corners, nearest_shares(points.detach(), self.vertices, corners))

    def height(self, points: Float[Tensor, "N 3"], footing: Footing) -> Float[Tensor, "N 3"]:
        """From where each stands to where it is, metres."""
        return points - footing.of(self.vertices)

    @torch.no_grad()
    def walk(self, points: Float[Tensor, "N 3"], face: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
        """The triangle that each point comes to when it goes downhill from its own, by distance."""
        face, walking = face.clone(), torch.arange(len(points), device=face.device)
        for _ in range(STEPS):
            there = self.around[face[walking]]
            count = there.shape[1]
            spread = points[walking].repeat_interleave(count, 0)
            corners = self.faces[there.flatten()]
            heights = self.height(spread, Footing(corners, nearest_shares(spread, self.vertices, corners)))
            heights = heights.square().sum(-1).view(-1, count)
            least, best = heights.min(1)
            moved = least < heights[:, 0] * (1 - 1e-6)
            walking = walking[moved]
            if not len(walking):
                break
            face[walking] = there[moved, best[moved]]
        return face


def _around(faces: Int[Tensor, "F 3"], count: int) -> Int[Tensor, "F K"]:
    """Each triangle and those that share a vertex with it, filled up with itself."""
    number = np.arange(len(faces))
    corners = sp.csr_matrix((np.ones(faces.numel()), (number.repeat(3), faces.flatten().numpy())), (len(faces), count))
    near = sp.csr_matrix(corners @ corners.T - 3 * sp.eye(len(faces)))
    near.eliminate_zeros()
    near.sort_indices()
    counts = np.diff(near.indptr)
    table = number[:, None].repeat(counts.max() + 1, 1)
    row = number.repeat(counts)
    table[row, 1 + np.arange(near.nnz) - near.indptr[row]] = near.indices
    return torch.from_numpy(table)


class SkinGradient(nn.Module):
    """How a displaced skin has turned and stretched at its vertices, against the resting one.

    Along the skin: least squares over a vertex's edges. Across it: the normal stays one, of length one.
    """

    row: Tensor
    tangents: Tensor
    normals: Tensor
    source: Tensor
    starts: Tensor
    edges: Tensor
    slopes: Tensor

    def __init__(self, vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], moving: Bool[Tensor, " V"]) -> None:
        """`moving`: the vertices that are ever displaced; their triangles' vertices have rows, the others do not."""
        super().__init__()
        near = faces[moving[faces].any(1)].unique()
        row = torch.full((len(vertices),), -1).scatter(0, near, torch.arange(len(near)))
        edges = directed_edges(faces)
        edges = edges[row[edges[:, 0]] >= 0]
        source = row[edges[:, 0]]
        starts = torch.searchsorted(source, torch.arange(len(near) + 1))  # edges are sorted, and rows as vertices are
        normals = vertex_normals(vertices, faces)[near]
        aside = torch.eye(3)[normals.abs().argmin(-1)]
        first = normalize(torch.linalg.cross(normals, aside), dim=-1)
        tangents = torch.stack([first, torch.linalg.cross(normals, first)], -1)
        flat = ((vertices[edges[:, 1]] - vertices[edges[:, 0]])[:, None] @ tangents[source])[:, 0]
        squares = torch.zeros(len(near), 2, 2).index_add(0, source, flat[:, :, None] * flat[:, None])
        squares = squares + RIDGE * squares.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] * torch.eye(2)
        slopes = torch.linalg.solve(squares[source], flat)
        self.register_buffer("row", row, persistent=False)
        for name in ("tangents", "normals", "source", "starts", "edges", "slopes"):
            self.register_buffer(name, locals()[name], persistent=False)

    def forward(self, offsets: Float[Tensor, "V 3"]) -> Float[Tensor, "R 3 3"]:
        """Deformation gradients of the displaced skin, a row for each vertex that has one."""
        if offsets.device.type == "cpu" and offsets.dtype == torch.float32:
            from talkingavatar.networks.cpu.carry import Gradient

            return Gradient.apply(self.arrays(), offsets)
        return self.plain(offsets)

    def plain(self, offsets: Float[Tensor, "V 3"]) -> Float[Tensor, "R 3 3"]:
        """`forward` in torch's own operations, on any device."""
        moved = self.tangents_of(offsets)
        normals = normalize(torch.linalg.cross(moved[..., 0], moved[..., 1]), dim=-1)
        return moved @ self.tangents.mT + normals[..., None] * self.normals[:, None]

    def tangents_of(self, offsets: Float[Tensor, "V 3"]) -> Float[Tensor, "R 3 2"]:
        """Where the displaced skin takes each row's two tangents."""
        steps = (offsets[self.edges[:, 1]] - offsets[self.edges[:, 0]])[:, :, None] * self.slopes[:, None]
        return self.tangents.index_add(0, self.source, steps)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Starts of the rows' edges, edges, slopes, tangents and normals for compiled code."""
        return tuple(x.numpy() for x in (self.starts, self.edges, self.slopes, self.tangents, self.normals))


def carried(
    local: Local,
    chosen: Int[Tensor, " n"],
    footing: Footing,
    resting: Float[Tensor, "V 3"],
    row: Int[Tensor, " V"],
    gradient: Float[Tensor, "R 3 3"],
) -> Local:
    """Gaussians with those chosen moved, turned and stretched as the skin is where they stand; the less the higher.

    Args:
        resting: the vertices they stand on, metres.
        row: of the `gradient`, of each vertex; those that the chosen stand on have one.
    """
    if local.means.device.type == "cpu" and local.means.dtype == torch.float32:
        from talkingavatar.networks.cpu.carry import Carry

        return Local(*Carry.apply(chosen, footing, resting, row, *local, gradient))
    return carried_plain(local, chosen, footing, resting, row, gradient)


def carried_plain(
    local: Local,
    chosen: Int[Tensor, " n"],
    footing: Footing,
    resting: Float[Tensor, "V 3"],
    row: Int[Tensor, " V"],
    gradient: Float[Tensor, "R 3 3"],
) -> Local:
    """`carried` in torch's own operations, on any device."""
    own, stands = Local(*(values[chosen] for values in local)), Footing(*(values[chosen] for values in footing))
    height = own.means - stands.of(resting)
    near = ((FAR - height.detach().norm(dim=-1)) / (FAR - NEAR)).clamp(0, 1)
    still = torch.eye(3, device=height.device)
    stretch = Footing(row[stands.corners], stands.shares).of((gradient - still).flatten(1)).unflatten(-1, (3, 3))
    stretch = near[:, None, None] * stretch
    quats, scales = stretched(own.quats, own.scales, still + stretch)
    return Local(
        local.means.index_add(0, chosen, (stretch @ height[..., None])[..., 0]),
        local.quats.index_copy(0, chosen, quats),
        local.scales.index_copy(0, chosen, scales),
    )


def stretched(
    quats: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"], gradient: Float[Tensor, "N 3 3"]
) -> tuple[Float[Tensor, "N 4"], Float[Tensor, "N 3"]]:
    """Quaternions and extents of Gaussians that a map deforms; shear is left out (Gram-Schmidt, with its lengths)."""
    axes = gradient @ quat_to_matrix(normalize(quats, dim=-1))
    turned = orthonormalise(axes)
    lengths = (turned * axes).sum(1)
    return matrix_to_quat(turned), scales * lengths.abs()


def nearest_shares(
    points: Float[Tensor, "N 3"], vertices: Float[Tensor, "V 3"], corners: Int[Tensor, "N 3"]
) -> Float[Tensor, "N 3"]:
    """Shares of its triangle's corners in the point of it that is nearest to each point; no gradient."""
    if points.device.type == "cpu" and points.dtype == torch.float32:
        from talkingavatar.networks.cpu.nearest import nearest_shares_cpu

        return nearest_shares_cpu(points, vertices, corners)
    return closest_on_triangles(points, vertices[corners])
