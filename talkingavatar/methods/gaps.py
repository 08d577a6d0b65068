"""Gaps in a skin that cameras see aslant alone: growth and filling leave them out, and whoever turns shows the wall."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import normalize

from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.geometry.cameras import eyes, in_picture, project
from talkingavatar.geometry.rotations import quat_to_matrix, third_axis
from talkingavatar.geometry.triangles import triangle_frames
from talkingavatar.methods.colours import donated
from talkingavatar.networks.placing import Local
from talkingavatar.splatting.conventions import FILTER_2DGS
from talkingavatar.types import Batch, Cameras

LEFT = 0.3  # of the light: a triangle that lets more than that through is a gap
NEAREST = 48  # Gaussians that may stand in the light's way
STRAIGHT = math.cos(math.radians(45))  # between normal and line of sight: there, pixels know better
BEHIND = 0.02  # metres beyond what a camera sees there, from which on it does not see a triangle
FOLD = (0.005, 0.01, 0.015, 0.02)  # metres above a triangle where no other skin may be


@torch.no_grad()
def let_through(
    points: Float[Tensor, "P 3"],
    normals: Float[Tensor, "P 3"],
    resting: Local,
    opacities: Float[Tensor, " N"],
    pixel: float = 0.0,
) -> Float[Tensor, " P"]:
    """Share of the light along each normal that the Gaussians nearest to its point let through.

    On a ray a Gaussian is as dense as at the least Mahalanobis distance: of a surfel that is where the ray meets it
    (Huang et al. 2024, eq. 8), of an ellipsoid what its picture has there (Zwicker et al. 2001).

    Args:
        resting: N Gaussians.
        opacities: of these.
        pixel: metres that a pixel of the camera is wide, at the person: none is drawn finer (Huang et al., eq. 11).
    """
    near = _nearest(resting.means, points, min(NEAREST, len(opacities)))
    axes, scales = quat_to_matrix(normalize(resting.quats, dim=-1))[near], resting.scales[near]
    away, along = points[:, None] - resting.means[near], normals[:, None].expand(-1, near.shape[1], -1)
    own_away, own_along = ((axes.mT @ x[..., None])[..., 0] / scales for x in (away, along))
    distances = torch.linalg.cross(own_away, normalize(own_along, dim=-1)).square().sum(-1)
    if pixel > 0:
        aside = torch.linalg.cross(away, along).square().sum(-1)
        distances = torch.minimum(distances, FILTER_2DGS * aside / pixel**2)
    facing = (third_axis(resting.quats)[near] * along).sum(-1) > 0
    return (1 - opacities[near] * facing * (-distances / 2).exp()).prod(1)


@torch.no_grad()
def folded(corners: Float[Tensor, "F 3 3"], chosen: Int[Tensor, " P"]) -> Bool[Tensor, " P"]:
    """Which of the chosen triangles have other skin close above: a point there is behind the triangle nearest to it."""
    frames = triangle_frames(corners)
    centres, normals = frames.centre, frames.rotation[..., 1]
    found = torch.zeros_like(chosen, dtype=torch.bool)
    for height in FOLD:
        points = centres[chosen] + height * normals[chosen]
        nearest = _nearest(centres, points, 1)[:, 0]
        found |= ((points - centres[nearest]) * normals[nearest]).sum(-1) < 0
    return found


@torch.no_grad()
def seen_aslant(batch: Batch, meshes: list[Float[Tensor, "V 3"]], faces: Int[Tensor, "F 3"]) -> Bool[Tensor, " F"]:
    """Which triangles are in the picture in some frame, but never where a camera looks straight at them.

    Args:
        meshes: vertices in world space, of each frame.
    """
    mesh, there, straight = VisibleMesh(faces), *torch.zeros(2, len(faces), dtype=torch.bool)
    for i, vertices in enumerate(meshes):
        cameras, frames = batch.frame(i).cameras, triangle_frames(vertices[faces])
        sight = frames.centre - eyes(cameras.viewmats)
        facing = -(frames.rotation[..., 1] * normalize(sight, dim=-1)).sum(-1)
        inside = in_picture(frames.centre, cameras)
        x, y = project(frames.centre[inside][None], cameras)[0].long().unbind(-1)
        # Many a triangle is smaller than a pixel, whose only one it need not be.
        first = torch.from_numpy(mesh.before(vertices, cameras)[0]).long()[y, x]
        depth = sight @ cameras.viewmats[0, 2, :3]
        hidden = (first >= 0) & (depth[inside] > depth[first] + BEHIND)
        straight[inside] |= (facing[inside] > STRAIGHT) & ~hidden
        there |= inside
    return there & ~straight


def pixel_at(points: Float[Tensor, "V 3"], cameras: Cameras) -> float:
    """Metres that a pixel of a camera (C = 1) is wide where points are, in the median."""
    view = cameras.viewmats[0]
    return float((points @ view[2, :3] + view[2, 3]).median() / cameras.Ks[0, 0, 0])


def gaps(
    corners: Float[Tensor, "F 3 3"],
    wanted: Bool[Tensor, " F"],
    resting: Local,
    opacities: Float[Tensor, " N"],
    most: int,
    pixel: float = 0.0,
) -> Int[Tensor, " P"]:
    """The wanted triangles that let light through and lie in no fold; of more than `most` the most open.

    Args:
        corners: of the resting skin, metres.
        pixel: as `let_through` takes it.
    """
    frames, chosen = triangle_frames(corners), wanted.nonzero()[:, 0]
    light = let_through(frames.centre[chosen], frames.rotation[chosen, :, 1], resting, opacities, pixel)
    chosen, light = chosen[light > LEFT], light[light > LEFT]
    open_ = ~folded(corners, chosen)
    chosen, light = chosen[open_], light[open_]
    return chosen[torch.argsort(light, descending=True, stable=True)[:most]].sort().values


def colours_around(
    places: Float[Tensor, "P 3"],
    inside: Mapping[str, Bool[Tensor, " P"]],
    resting: Local,
    constant: Float[Tensor, "N 3"],
    known: Mapping[str, Bool[Tensor, " N"]],
) -> Float[Tensor, "P 3"]:
    """What the Gaussians nearest to each place have, of its part; those of the person's other side count too.

    Args:
        inside: which places are of each part; each is of one.
        constant: what each Gaussian has.
        known: of each part, those that give.
    """
    found = torch.zeros_like(places)
    for name, here in inside.items():
        given = known[name]
        if here.any() and given.any():
            own = (resting.means[given].cpu(), constant[given].cpu(), places[here].cpu())
            found[here] = donated(*own, depth=1.0).to(found.device)
    return found


def _nearest(places: Float[Tensor, "N 3"], points: Float[Tensor, "P 3"], count: int) -> Int[Tensor, "P K"]:
    _, found = cKDTree(places.cpu().numpy()).query(points.cpu().numpy(), k=range(1, count + 1))
    return torch.from_numpy(found).long().to(points.device)
