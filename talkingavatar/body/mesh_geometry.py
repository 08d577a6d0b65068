"""Geometry of triangle meshes and what Gaussians on a body are started from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import normalize

from talkingavatar.geometry.triangles import triangle_areas


def vertex_normals(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "V 3"]:
    """Unit normals, area-weighted over the incident faces; zero where a vertex has no face."""
    a, b, c = vertices[faces].unbind(1)
    doubled_areas = torch.linalg.cross(b - a, c - a)
    summed = torch.zeros_like(vertices).index_add(0, faces.flatten(), doubled_areas.repeat_interleave(3, 0))
    return normalize(summed, dim=-1)


def directed_edges(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "E 2"]:
    """Every edge of the triangles once each way, sorted."""
    first, second, count = faces.flatten(), faces.roll(-1, 1).flatten(), int(faces.max()) + 1
    # One number an edge: rows are made unique five times as slowly.
    edges = torch.from_numpy(np.unique(torch.cat([first * count + second, second * count + first]).numpy()))
    return torch.stack([edges // count, edges % count], 1)


def mean_incident_area(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, " V"]:
    """Mean area in m^2 of the faces around each vertex; zero where it has no face (methods A.3, step 4)."""
    areas = triangle_areas(vertices[faces])
    sums = vertices.new_zeros(len(vertices)).index_add(0, faces.flatten(), areas.repeat_interleave(3))
    counts = torch.bincount(faces.flatten(), minlength=len(vertices))
    return sums / counts.clamp(min=1)


@dataclass(frozen=True)
class SkinningGrid:
    """Skinning weights on the nodes of a box; node (z, y, x) of channel j, corners at `lower` and `upper`.

    `weights[None]` is what `torch.nn.functional.grid_sample(..., align_corners=True)` reads, with coordinates
    2 (p - lower) / (upper - lower) - 1.
    """

    weights: Float[Tensor, "J N N N"]  # sum to one over J; zero at nodes left out
    lower: Float[Tensor, " 3"]  # metres
    upper: Float[Tensor, " 3"]


def skinning_grid(
    vertices: Float[Tensor, "V 3"],
    weights: Float[Tensor, "V J"],
    resolution: int = 64,
    extent: float = 1.2,
    band: float = math.inf,
) -> SkinningGrid:
    """Start of the skinning voxels: each node takes its three nearest vertices' weights by inverse distance.

    Args:
        vertices: canonical template, metres.
        weights: skinning weights of the vertices.
        resolution: nodes along each side.
        extent: side of the grid as a multiple of the template's bounding box, axis by axis.
        band: metres from the template beyond which nodes are left out.

    Source: THGS eqs 6-7 (methods A.4); the kernel and the extent are not stated there.
    """
    low, high = vertices.amin(0), vertices.amax(0)
    centre, half = (low + high) / 2, (high - low) / 2 * extent
    lower, upper = centre - half, centre + half
    sides = [np.linspace(lower[i].item(), upper[i].item(), resolution) for i in range(3)]
    z, y, x = np.meshgrid(sides[2], sides[1], sides[0], indexing="ij")
    nodes = np.stack([x, y, z], -1).reshape(-1, 3)
    tree = cKDTree(vertices.double().numpy(force=True))
    near = np.flatnonzero(tree.query(nodes, distance_upper_bound=band, workers=-1)[0] < np.inf)
    distances, nearest = tree.query(nodes[near], k=3, workers=-1)
    inverse = 1 / np.maximum(distances, 1e-6)
    share = torch.from_numpy(inverse / inverse.sum(1, keepdims=True)).to(weights)
    mean = torch.zeros(len(near), weights.shape[1], dtype=weights.dtype, device=weights.device)
    for k in range(3):  # one neighbour at a time: all three at once would need 170 MB
        mean += share[:, k : k + 1] * weights[torch.from_numpy(nearest[:, k]).to(weights.device)]
    node_weights = weights.new_zeros(len(nodes), weights.shape[1])
    node_weights[torch.from_numpy(near)] = mean / mean.sum(1, keepdim=True)
    cube = node_weights.T.reshape(-1, resolution, resolution, resolution).contiguous()
    return SkinningGrid(cube, lower, upper)


def bounding_box(points: Float[Tensor, "N 3"], margin: float = 0.02) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Lower and upper corner of the points, grown by `margin` metres on every side.

    Of the canonical teeth this is the mouth box: the Gaussians inside are the mouth's (methods A.6).
    """
    return points.amin(0) - margin, points.amax(0) + margin
