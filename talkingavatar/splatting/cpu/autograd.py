"""The kernels as one differentiable torch operation per camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.launch import spread
from talkingavatar.splatting.cpu.project import project_2dgs, project_3dgs
from talkingavatar.splatting.cpu.project_backward import project_backward
from talkingavatar.splatting.cpu.raster import raster_backward, raster_forward
from talkingavatar.splatting.cpu.tiles import bin_splats

Arrays = tuple[np.ndarray, ...]


class Rasterise(torch.autograd.Function):
    """One camera: from (means, quats, scales, opacities, colours, view, K, background, probe) to images.

    Returns rgb, alpha, depth, median depth, normals, splat centres and radii. What backward needs beyond
    tensors is kept on `ctx` as numpy arrays, columns in `layout`.
    """

    @staticmethod
    def forward(ctx: Any, surfel: bool, size: tuple[int, int], *inputs: Tensor) -> tuple[Tensor, ...]:
        means, quats, scales, _, _, view, K, background, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.size, ctx.background = size, background.numpy()
        projected = project(surfel, size, *(x.numpy() for x in inputs[:7]))
        _, shape, features, radii, boxes, _ = projected
        tiles = (size[0] + at.TILE - 1) // at.TILE, (size[1] + at.TILE - 1) // at.TILE
        sorted_ = bin_splats(boxes, features[:, at.DEPTH], *tiles)
        *images, ctx.median_ids = render(size, sorted_, projected, ctx.background)
        ctx.splats, ctx.sorted = projected, sorted_
        rgb, alpha, depth, normals, median = (torch.from_numpy(x) for x in images)
        ctx.save_for_backward(means, quats, scales, view, K, rgb, alpha, depth, normals)
        centres = torch.from_numpy(shape[:, [at.LX, at.LY] if surfel else [at.X, at.Y]])
        footprint = torch.from_numpy(radii)
        ctx.mark_non_differentiable(centres, footprint)
        return rgb, alpha, depth, median, normals, centres, footprint

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *v_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        v_rgb, v_alpha, v_depth, v_median, v_normals = (_array(v) for v in v_outputs[:5])
        saved = [x.numpy() for x in ctx.saved_tensors]
        rows, shape, features, _, boxes, reach = ctx.splats
        starts, ids, first, slots = ctx.sorted
        rgb, alpha, depth, normals = saved[5:]
        images = (rgb, alpha[..., 0], depth[..., 0], normals)
        v_images = (v_rgb, v_alpha[..., 0], v_depth[..., 0], v_normals)
        v_edges = np.empty((len(ids), features.shape[1] + shape.shape[1]), np.float32)
        spread(raster_backward, starts, ids, rows, reach, ctx.background, images, v_images, v_edges)
        count = len(shape)
        gradients = tuple(np.zeros(s, np.float32) for s in ((count, 3), (count, 4), (count, 3), count, (count, 3)))
        probe = np.zeros((count, 2), np.float32)
        v_views = np.zeros(((count + at.BLOCK - 1) // at.BLOCK, 3, 4), np.float32)
        v_depths = _median_gradient(ctx.median_ids, v_median, count)
        rest = (slots, v_edges, v_depths, gradients, probe, v_views)
        spread(project_backward, tuple(saved[:5]), ctx.size, shape, features, boxes, first, *rest)
        v_view = np.zeros((4, 4), np.float32)
        v_view[:3] = v_views.sum(0, dtype=np.float64)
        results = [torch.from_numpy(x) for x in (*gradients, v_view, probe)]
        return (None, None, *results[:6], None, None, results[6])


def project(surfel: bool, size: tuple[int, int], *inputs: np.ndarray) -> Arrays:
    """Rows (all that tiles read), their shape and features; radii, boxes (tiles) and reach (pixels); of one camera.

    inputs: means, quats, scales, opacities, colours, view, K.
    """
    count = len(inputs[0])
    width, row = (at.SHAPE_2DGS, at.ROW_2DGS) if surfel else (at.SHAPE_3DGS, at.ROW_3DGS)
    channels = at.CHANNELS_2DGS if surfel else at.CHANNELS_3DGS
    rows = torch.zeros(count, row).numpy()  # torch's memory begins with a cache line, numpy's anywhere
    shape, features = rows[:, :width], rows[:, width : width + channels]
    reach = rows.view(np.int32)[:, row - at.REACH :]
    radii, boxes = (np.zeros((count, n), np.int32) for n in (2, 4))
    spread(project_2dgs if surfel else project_3dgs, *inputs, size, shape, features, radii, boxes, reach)
    return rows, shape, features, radii, boxes, reach


def render(size: tuple[int, int], sorted_: Arrays, projected: Arrays, background: np.ndarray) -> Arrays:
    """rgb, alpha, depth, normals (empty for 3dgs), median depth and the ids of the splats that hold it."""
    width, height = size
    rows, *_, reach = projected
    surfel = rows.shape[1] == at.ROW_2DGS
    rgb, normals = (
        np.empty((height, width, 3), np.float32),
        np.empty((height, width, 3) if surfel else (0, 0, 3), np.float32),
    )
    alpha, depth, median = (np.empty((height, width, 1), np.float32) for _ in range(3))
    median_ids = np.empty((height, width), np.int32)
    planes = (rgb, alpha[..., 0], depth[..., 0], normals, median[..., 0], median_ids)
    spread(raster_forward, *sorted_[:2], rows, reach, background, planes)
    return rgb, alpha, depth, normals, median, median_ids


def _array(gradient: Tensor | None) -> np.ndarray:
    """The gradient of an image, or an empty array of as many axes where there is none."""
    return np.empty((0, 0, 1), np.float32) if gradient is None else gradient.contiguous().numpy()


def _median_gradient(ids: np.ndarray, gradient: np.ndarray, count: int) -> np.ndarray:
    """Gradient of each splat's depth from that of the median depth image; empty where there is none."""
    if gradient.size == 0:
        return np.empty(0, np.float32)
    seen = ids >= 0
    return np.bincount(ids[seen], gradient[..., 0][seen], count).astype(np.float32)
