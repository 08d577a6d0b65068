"""Surfels to pixels with gsplat 1.5, whose own function waits for the device in every backward pass."""

from __future__ import annotations

from typing import Any

from gsplat.cuda._wrapper import _make_lazy_cuda_func, _RasterizeToPixels2DGS
from torch import Tensor


class _Pixels(_RasterizeToPixels2DGS):
    """The same kernels; density control reads the gradient of the ray transforms, so that of `densify` is dropped."""

    @staticmethod
    def backward(ctx: Any, *v_images: Tensor) -> tuple[Tensor | None, ...]:
        splats, lists = ctx.saved_tensors[:8], ctx.saved_tensors[8:]
        kernel = _make_lazy_cuda_func("rasterize_to_pixels_2dgs_bwd")
        size = (ctx.width, ctx.height, ctx.tile_size)
        gradients = kernel(*splats, *size, *lists, *(v.contiguous() for v in v_images), ctx.absgrad)
        return (*gradients[1:6], *(None,) * 10)


def pixels_of_surfels(*arguments: Any, backgrounds: Tensor) -> tuple[Tensor, ...]:
    """As `gsplat.rasterize_to_pixels_2dgs`, its first eleven arguments by position; for 4 channels, unpacked."""
    *splats, width, height, tile, starts, ids = arguments
    ready = (x.contiguous() for x in (*splats, backgrounds))
    return _Pixels.apply(*ready, None, width, height, tile, starts, ids, False, False)
