"""How far clothes and hair stand off a body, told from the outlines of its mattes."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.ndimage import distance_transform_edt
from scipy.sparse.linalg import spsolve
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from talkingavatar.body.mesh_geometry import directed_edges, vertex_normals
from talkingavatar.body.models import Body
from talkingavatar.body.parts import INSIDE
from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.types import Batch, Cameras

BARE = ("left_hand", "right_hand", *INSIDE)
ROUNDS = 2  # the outline of a body that is dressed already is another one
ASIDE = 0.45  # cosine between normal and line of sight below which a vertex counts as on the outline
ALIKE = 0.7  # cosine between a vertex's normal in the picture and the way out
NEAR = 4.0  # pixels of the body's outline within which a vertex is on it
DEEPEST, FARTHEST = -0.01, 0.08  # metres along the normal
# Weights beside a frame's outline: of neighbours' differences, of bare skin, of hair, and of clothes elsewhere. Hair is
# as thick behind as at the sides; clothes hang off hips and elbows, and lie close where no outline shows them.
SMOOTH, HELD, HAIR, CLOTHES = 1.0, 1e3, 1e-4, 5e-3


def dress(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], worn: Float[Tensor, " V"]) -> Float[Tensor, "V 3"]:
    """A mesh with its vertices moved along their normals (metres)."""
    return vertices + worn[:, None] * vertex_normals(vertices, faces)


@torch.no_grad()
def dressed(
    batch: Batch, meshes: list[Float[Tensor, "V 3"]], faces: Int[Tensor, "F 3"], body: Body
) -> Float[Tensor, " V"]:
    """Metres along each vertex's normal from a mesh to what is seen of the person, smooth over the surface.

    Vertices on the outline of some frames are moved to the matte's; the others follow their neighbours.
    Of face and hands, which nothing covers, the body is believed.

    Args:
        meshes: vertices in world space, of each frame, the body's first.
        faces: of these meshes.
    """
    bare = _bare(body, len(meshes[0]))
    normals = [vertex_normals(vertices, faces) for vertices in meshes]
    mattes, seen = [_signed_distance(matte) for matte in (batch.matte[..., 0] > 0.5).numpy()], VisibleMesh(faces)
    neighbours = _laplacian(faces, len(bare))
    offsets = torch.zeros(len(bare))
    free = torch.full_like(offsets, CLOTHES).index_fill(0, body.regions["head"], HAIR)
    for _ in range(ROUNDS):
        weights, gaps = torch.zeros_like(offsets), torch.zeros_like(offsets)
        for i, vertices in enumerate(meshes):
            moved = vertices + offsets[:, None] * normals[i]
            there, gap = _gaps(moved, normals[i], mattes[i], seen, batch.frame(i).cameras)
            weights += there
            gaps += torch.where(there, (offsets + gap).clamp(DEEPEST, FARTHEST), 0.0)
        held = torch.where(bare, HELD, free)
        system = sp.diags((weights + held).double().numpy()) + SMOOTH * neighbours
        solved = spsolve(system.tocsc(), (gaps * ~bare).double().numpy())
        offsets = torch.from_numpy(solved).float().clamp(DEEPEST, FARTHEST)
    return offsets


def _bare(body: Body, count: int) -> Bool[Tensor, " V"]:
    """What nothing covers, of so many vertices, the body's first."""
    bare = torch.zeros(count, dtype=torch.bool)
    bare[: len(body.face)] = body.face
    for name in BARE:
        bare[body.regions[name]] = True
    return bare


def _gaps(
    vertices: Float[Tensor, "V 3"], normals: Float[Tensor, "V 3"], matte: Float[Tensor, "H W"], mesh: VisibleMesh,
    cameras: Cameras,
) -> tuple[Bool[Tensor, " V"], Float[Tensor, " V"]]:  # fmt: skip
    """Which vertices are on the body's outline, and metres from there to the matte's along their normals.

    `matte`: signed distances from its outline.
    """
    view, K, size = cameras.viewmats[0], cameras.Ks[0], torch.tensor([cameras.width, cameras.height])
    ids, _ = mesh.before(vertices, cameras)
    own = _signed_distance(ids >= 0)
    points, facing = vertices @ view[:3, :3].T + view[:3, 3], normals @ view[:3, :3].T
    pixels = (points @ K.T)[:, :2] / points[:, 2:]
    field = torch.cat([own[None], matte[None], torch.stack(torch.gradient(own, dim=(1, 0)))])[None]
    sampled = grid_sample(field, (pixels / size * 2 - 1)[None, None], align_corners=False)[0, :, 0]
    aside = (facing * normalize(points, dim=-1)).sum(-1).abs() < ASIDE
    alike = -(normalize(sampled[2:].T, dim=-1) * normalize(facing[:, :2], dim=-1)).sum(-1) > ALIKE
    within = ((pixels > 2) & (pixels < size - 2)).all(-1)  # the picture's edge is no outline
    gap = (sampled[1] - sampled[0]) * points[:, 2] / K[0, 0]
    close = (sampled[0].abs() < NEAR) & (gap > 3 * DEEPEST) & (gap < FARTHEST)
    return aside & alike & within & close, torch.nan_to_num(gap)


def _signed_distance(mask: Bool[ndarray, "H W"]) -> Float[Tensor, "H W"]:
    """Pixels from the outline, positive within; NaN where there is none."""
    if mask.all() or not mask.any():
        return torch.full(mask.shape, torch.nan)
    distance = np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask))
    return torch.from_numpy(distance).float()


def _laplacian(faces: Int[Tensor, "F 3"], count: int) -> sp.csr_matrix:
    """Of the graph of edges: each vertex's mean difference from its neighbours."""
    edges = directed_edges(faces).numpy()
    joined = sp.coo_matrix((np.ones(len(edges)), edges.T), (count, count)).tocsr()
    return sp.csr_matrix(sp.diags(np.asarray(joined.sum(1)).ravel()) - joined)
