"""Losses on Gaussians and surfaces."""

from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.geometry.rotations import turned_back
from talkingavatar.losses.image_cpu import NormalConsistency, compiled

TILT = 0.5**0.5  # cosine up to which a surfel may stand off the skin's own direction


def vertex_binding(
    means: Float[Tensor, "N 3"], vertices: Float[Tensor, "V 3"], parent: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Squared distance (m^2) of every canonical mean to its parent vertex (THGS L_vertex)."""
    return (means - vertices[parent]).square().sum(-1)


def skin_binding(height: Float[Tensor, "N 3"], reach: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Squared distance of every mean from where it stands on the skin, in reaches, beyond the first (no unit)."""
    return (height.norm(dim=-1) / reach - 1).relu().square()


def beyond_tilt(normals: Float[Tensor, "N 3"], skin: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """By how much the cosine between a surfel's normal and its skin's is short of that of 45 degrees."""
    return (TILT - (normals * skin).sum(-1)).relu()


def normal_consistency(
    normals: Float[Tensor, "B H W 3"], depth_normals: Float[Tensor, "B H W 3"]
) -> Float[Tensor, "B H W"]:
    """1 - <rendered normal, normal of the depth map> per pixel (2DGS L_n)."""
    if compiled(normals, depth_normals):
        return NormalConsistency.apply(normals, depth_normals)
    return 1 - (normals * depth_normals).sum(-1)


def beyond_position(means: Float[Tensor, "N 3"], most: float) -> Float[Tensor, " N"]:
    """How far local means lie beyond `most` triangles from their centroid (GaussianAvatars L_position).

    The published code averages over the Gaussians in view; here all count, seen or not.
    """
    return (means.norm(dim=-1) - most).relu()


def beyond_jut(
    quats: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"], most: float
) -> Float[Tensor, " N"]:
    """Squared standard deviation of every Gaussian across its skin, in `most` (metres), beyond the first (no unit)."""
    across = scales * turned_back(normals, quats)
    return (across.norm(dim=-1) / most - 1).relu().square()


def beyond_scale(scales: Float[Tensor, "N 3"], most: float) -> Float[Tensor, " N"]:
    """By how much local scales exceed `most` triangles (GaussianAvatars L_scaling)."""
    return (scales - most).relu().square().sum(-1).add(1e-12).sqrt()
