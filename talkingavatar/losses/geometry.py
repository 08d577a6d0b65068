"""Losses on Gaussians and surfaces."""

from jaxtyping import Float, Int
from torch import Tensor


def vertex_binding(
    means: Float[Tensor, "N 3"], vertices: Float[Tensor, "V 3"], parent: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Squared distance (m^2) of every canonical mean to its parent vertex (THGS L_vertex)."""
    return (means - vertices[parent]).square().sum(-1)


def normal_consistency(
    normals: Float[Tensor, "B H W 3"], depth_normals: Float[Tensor, "B H W 3"]
) -> Float[Tensor, "B H W"]:
    """1 - <rendered normal, normal of the depth map> per pixel (2DGS L_n)."""
    return 1 - (normals * depth_normals).sum(-1)
