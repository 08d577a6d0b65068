"""Gaussians carried into the world by affine maps: those of a skin, of triangles, of anything that moves."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from talkingavatar.geometry.rotations import matrix_to_quat, orthonormalise, quat_multiply
from talkingavatar.geometry.triangles import triangle_frames
from talkingavatar.networks.footing import Footing


class Local(NamedTuple):
    """Gaussians where nothing moves: what `place` carries."""

    means: Float[Tensor, "N 3"]
    quats: Float[Tensor, "N 4"]  # of any length but zero
    scales: Float[Tensor, "N 3"]


class Offsets(NamedTuple):
    """Displacements of vertices before the map, taken on by the Gaussians that stand there."""

    values: Float[Tensor, "V 3"]
    footing: Footing


def triangle_maps(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "F 3 4"]:
    """What carries a point from each triangle's own frame into the world (`geometry.triangles.TriangleFrames.maps`)."""
    if vertices.device.type == "cpu" and vertices.dtype == torch.float32:
        from talkingavatar.networks.cpu.triangles import TriangleMaps

        return TriangleMaps.apply(vertices, faces)
    return triangle_frames(vertices[faces]).maps


def place(
    local: Local,
    maps: Float[Tensor, "M 3 4"],
    carrier: Int[Tensor, " N"] | None = None,
    offsets: Offsets | None = None,
    scaled: bool = False,
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 4"], Float[Tensor, "N 3"]]:
    """Means, quaternions and scales in the world.

    Means go through the map. Quaternions turn with the rotation nearest to its linear part, by Gram-Schmidt on its
    columns.

    Args:
        maps: [linear part | translation].
        carrier: the row of `maps` that carries each Gaussian; None where each has its own.
        scaled: scales grow by the length of the linear part's first column, too; else they stay.
    """
    if maps.device.type == "cpu" and maps.dtype == torch.float32:
        from talkingavatar.networks.cpu.place import place_cpu

        return place_cpu(local, maps, carrier, offsets, scaled)
    return place_plain(local, maps, carrier, offsets, scaled)


def place_plain(
    local: Local,
    maps: Float[Tensor, "M 3 4"],
    carrier: Int[Tensor, " N"] | None = None,
    offsets: Offsets | None = None,
    scaled: bool = False,
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 4"], Float[Tensor, "N 3"]]:
    """`place` in torch's own operations, on any device."""
    own = maps if carrier is None else maps[carrier]
    linear, translation = own[..., :3], own[..., 3]
    means = local.means if offsets is None else local.means + offsets.footing.of(offsets.values)
    return (
        (linear @ means[..., None])[..., 0] + translation,
        quat_multiply(matrix_to_quat(orthonormalise(linear)), normalize(local.quats, dim=-1)),
        local.scales * linear[..., 0].norm(dim=-1, keepdim=True) if scaled else local.scales,
    )
