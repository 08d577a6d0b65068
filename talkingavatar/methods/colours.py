"""Colours to start from: no paper says how colours start, and grey costs a short budget its first hundreds of steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from talkingavatar.body.mesh_geometry import vertex_normals
from talkingavatar.methods.base import MethodContext
from talkingavatar.types import BodyPose

Mesh = tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]


@torch.no_grad()
def seen_colours(context: MethodContext, mesh: Callable[[BodyPose], Mesh], frames: int = 8) -> Float[Tensor, "V 3"]:
    """Mean colour of each vertex in a few training frames, where it faces the camera; grey if it never does.

    `mesh` gives vertices in world space, and faces, of one frame's pose.
    """
    every = max(1, len(context.train_frames) // frames)
    batch = context.look(context.train_frames[::every])
    meshes = [mesh(batch.signal.pose[[i]]) for i in range(len(batch.signal.pose))]
    view = batch.cameras.viewmats
    seen = torch.stack([vertices for vertices, _ in meshes]) @ view[:, :3, :3].mT + view[:, None, :3, 3]
    pixels = seen @ batch.cameras.Ks.mT
    normals = torch.stack([vertex_normals(s, faces) for s, (_, faces) in zip(seen, meshes, strict=True)])
    size = torch.tensor([batch.cameras.width, batch.cameras.height])
    grid = (pixels[..., :2] / pixels[..., 2:] / size * 2 - 1)[:, None]
    picture = torch.cat([batch.image, batch.matte], -1).permute(0, 3, 1, 2)
    sampled = grid_sample(picture, grid, align_corners=False)[:, :, 0].mT
    weight = (-(normals * normalize(seen, dim=-1)).sum(-1)).clamp_min(0) * (sampled[..., 3] > 0.9)
    total = weight.sum(0)[:, None]
    mean = (sampled[..., :3] * weight[..., None]).sum(0) / total.clamp_min(1e-6)
    return torch.where(total > 1e-3, mean, 0.5)
