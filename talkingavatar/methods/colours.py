"""Colours to start from: no paper says how colours start, and grey costs a short budget its first hundreds of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from talkingavatar.body.body import Body
from talkingavatar.body.mesh_geometry import vertex_normals
from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.methods.context import MethodContext
from talkingavatar.types import Batch, BodyPose

FRAMES = 8  # that are looked at
DONORS = 3  # that share in what is not seen
DEPTH = 0.5  # of the distance from front to back, beside that across: a back has the colours of the front before it
# The same of a part whose pattern goes on through the person, as stripes of cloth do; of one whose sides know better.
THROUGH = {"body": 0.1, "head": 1.0}
# Clothes open in the middle of the front, at collar and tie: a back has what is beside. How wide that is, of a torso's
# half width, which is so many metres at most (beyond are a T-pose's arms), and how high the rows of one width.
OPENING, TORSO, ROW = 0.5, 0.2, 0.02
# Of parts that no frame shows.
USUAL = {
    "teeth_upper": (0.78, 0.74, 0.68), "teeth_lower": (0.78, 0.74, 0.68), "tongue": (0.62, 0.3, 0.3),
    "mouth_cavity": (0.25, 0.09, 0.09),
}  # fmt: skip
GREY = (0.5, 0.5, 0.5)
PosedMesh = Callable[[BodyPose], Float[Tensor, "V 3"]]  # vertices in world space of one frame's pose


def some_frames(context: MethodContext, count: int) -> Batch:
    """About so many training frames, evenly spaced, with their pictures."""
    return context.look(context.train_frames[:: max(1, len(context.train_frames) // count)])


@torch.no_grad()
def first_look(context: MethodContext, mesh: PosedMesh) -> tuple[Batch, list[Float[Tensor, "V 3"]]]:
    """A few training frames, and a mesh in the pose of each."""
    batch = some_frames(context, FRAMES)
    return batch, [mesh(batch.signal.pose[[i]]) for i in range(len(batch))]


@torch.no_grad()
def seen_colours(
    batch: Batch, meshes: list[Float[Tensor, "V 3"]], faces: Int[Tensor, "F 3"]
) -> tuple[Float[Tensor, "V 3"], Bool[Tensor, " V"]]:
    """Mean colour of each vertex in some frames, where the camera sees it; and which are ever seen.

    Args:
        meshes: vertices in world space, of each frame.
    """
    visible = VisibleMesh(faces)
    size = torch.tensor([batch.cameras.width, batch.cameras.height])
    summed = total = torch.zeros(1)
    for i in range(len(batch)):
        frame = batch.frame(i)
        vertices, view = meshes[i], frame.cameras.viewmats[0]
        ids, pixels = visible.before(vertices, frame.cameras)
        there = torch.zeros(len(vertices), 1)
        there[faces[torch.from_numpy(np.unique(ids[ids >= 0])).long()].flatten()] = 1
        picture = torch.cat([frame.image, frame.matte], -1).permute(0, 3, 1, 2)
        grid = (torch.from_numpy(pixels) / size * 2 - 1)[None, None]
        sampled = grid_sample(picture, grid, align_corners=False)[0, :, 0].T
        normals, points = vertex_normals(vertices, faces) @ view[:3, :3].T, vertices @ view[:3, :3].T + view[:3, 3]
        facing = -(normals * normalize(points, dim=-1)).sum(-1, keepdim=True)
        weight = there * facing.clamp_min(0) * (sampled[:, 3:] > 0.9)
        summed, total = summed + weight * sampled[:, :3], total + weight
    return summed / total.clamp_min(1e-6), total[:, 0] > 1e-3


def completed(
    colours: Float[Tensor, "V 3"],
    seen: Bool[Tensor, " V"],
    rest: Float[Tensor, "V 3"],
    parts: Mapping[str, Bool[Tensor, " V"]],
) -> Float[Tensor, "V 3"]:
    """Vertices that were not seen take what those nearest to them have: of their part, of either side, of the front.

    Args:
        rest: where the vertices lie in the body's T-pose, metres.
        parts: as `parts_of` gives them.
    """
    found = colours.clone()
    for name, here in parts.items():
        known, unknown = here & seen, here & ~seen
        if known.any():
            found[unknown] = donated(rest[known], colours[known], looks_like(name, rest[known], rest[unknown]))
        else:
            found[unknown] = torch.tensor(USUAL.get(name, GREY))
    return found


def parts_of(body: Body) -> dict[str, Bool[Tensor, " V"]]:
    """The vertices of what does not share its looks with others; each is in one part."""
    parts, taken = {}, torch.zeros_like(body.face)
    regions = {name: body.regions[name] for name in ("left_eye", "right_eye", *USUAL)}
    regions |= {"face": body.face.nonzero()[:, 0], "head": body.regions["head"], "body": (~taken).nonzero()[:, 0]}
    for name, vertices in regions.items():
        parts[name] = torch.zeros_like(taken).index_fill(0, vertices, True) & ~taken
        taken |= parts[name]
    return parts


def looks_like(part: str, places: Float[Tensor, "K 3"], wanted: Float[Tensor, "U 3"]) -> Float[Tensor, "U 3"]:
    """Where on what is seen of a part is what the wanted places have: they themselves, but of a back beside openings.

    Args:
        places: what is seen, in the body's T-pose, metres.
    """
    if part != "body":
        return wanted
    row, asked = (((x[:, 1] - places[:, 1].min()) / ROW).floor().long() for x in (places, wanted))
    last = int(row.max())
    half = torch.zeros(last + 1).scatter_reduce(0, row, places[:, 0].abs(), "amax")[asked.clamp(0, last)]
    aside, opening = wanted[:, 0].abs(), OPENING * half.clamp_max(TORSO)
    behind = (wanted[:, 2] < places[:, 2].mean()) & (aside < half)
    moved = torch.where(behind, opening + aside * (1 - opening / half.clamp_min(1e-6)), wanted[:, 0])
    return torch.stack([moved, *wanted[:, 1:].unbind(-1)], -1)


def donated(
    places: Float[Tensor, "K 3"],
    colours: Float[Tensor, "K 3"],
    wanted: Float[Tensor, "U 3"],
    donors: int = DONORS,
    depth: float = DEPTH,
) -> Float[Tensor, "U 3"]:
    """What the places nearest to the wanted ones have, those of the other side of the body among them (metres)."""
    scale, mirror = torch.tensor([1.0, 1.0, depth]), torch.tensor([-1.0, 1.0, 1.0])
    both = torch.cat([places, places * mirror]) * scale
    count = min(donors, len(both))
    distances, nearest = cKDTree(both.numpy()).query((wanted * scale).numpy(), k=range(1, count + 1))
    shares = torch.from_numpy(1 / np.maximum(distances, 1e-4)).float()
    shares = shares / shares.sum(1, keepdim=True)
    return (shares[..., None] * colours.repeat(2, 1)[torch.from_numpy(nearest)]).sum(1)
