"""One call that turns Gaussians and cameras into pixels, whatever machine it runs on."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from talkingavatar.errors import UserError
from talkingavatar.geometry.spherical_harmonics import sh_to_rgb
from talkingavatar.splatting.conventions import Backend, Buffers, Mode
from talkingavatar.splatting.plain import depth_normals, rasterise_plain
from talkingavatar.types import Cameras, Gaussians, Rendering


def rasterise(
    gaussians: Gaussians,
    cameras: Cameras,
    background: Float[Tensor, " 3"],
    mode: Mode = "2dgs",
    backend: Backend = "auto",
) -> Rendering:
    """Render Gaussians; differentiable in all of them and in the view matrices.

    Args:
        gaussians: N activated Gaussians.
        cameras: C cameras.
        background: colour behind them, the same for all cameras.
        mode: "3dgs" ellipsoids (EWA) or "2dgs" surfels, which also give normals and the median depth.
        backend: "auto" is gsplat for CUDA tensors and our own for CPU tensors; "plain" is the readable one.

    Returns:
        The rendering. `info` holds what density control reads: `means2d` and, for surfels, `gradient_2dgs`
        (C N 2, their `.grad` filled by the backward pass), `radii` (C N 2, pixels, 0 where culled), `width`,
        `height`, `n_cameras`.

    Raises:
        UserError: mode or backend is unknown, or the backend cannot take these tensors.
    """
    device = gaussians.means.device
    if mode not in ("3dgs", "2dgs"):
        raise UserError("renderer.mode", repr(mode), '"3dgs" or "2dgs"', "choose one of them")
    if backend == "auto":
        backend = "gsplat" if device.type == "cuda" else "cpu"
    view_colours = _colours(gaussians, cameras)
    buffers = _run(backend, gaussians, view_colours, cameras, background, mode)
    buffers.info |= {
        "width": cameras.width,
        "height": cameras.height,
        "n_cameras": len(cameras),
        "gaussian_ids": None,  # every camera lists every Gaussian
    }
    surface = None
    if mode == "2dgs":
        surface = depth_normals(buffers.depth, cameras) * buffers.alpha.detach()
    return Rendering(
        rgb=buffers.rgb,
        alpha=buffers.alpha,
        depth=buffers.depth,
        median_depth=buffers.median_depth,
        normals=buffers.normals,
        depth_normals=surface,
        info=buffers.info,
    )


def _colours(gaussians: Gaussians, cameras: Cameras) -> Float[Tensor, "C N 3"]:
    """Each camera's colour of each Gaussian; gradients reach means and cameras through the direction."""
    if gaussians.sh.shape[1] == 1:
        return sh_to_rgb(gaussians.sh, gaussians.means).expand(len(cameras), -1, -1)
    rotation, translation = cameras.viewmats[:, :3, :3], cameras.viewmats[:, :3, 3:]
    eyes = -(rotation.mT @ translation).mT  # C 1 3
    return sh_to_rgb(gaussians.sh.expand(len(cameras), -1, -1, -1), gaussians.means - eyes)


def _run(
    backend: Backend, gaussians: Gaussians, colours: Tensor, cameras: Cameras, background: Tensor, mode: Mode
) -> Buffers:
    device = gaussians.means.device
    if backend == "plain":
        return rasterise_plain(gaussians, colours, cameras, background, mode)
    if backend == "cpu":
        if device.type != "cpu":
            raise UserError(
                "renderer.backend", f'"cpu" with tensors on {device}', "CPU tensors", 'use "auto"'
            )
        from talkingavatar.splatting.cpu.autograd import rasterise_cpu

        return rasterise_cpu(gaussians, colours, cameras, background, mode)
    if backend == "gsplat":
        if device.type != "cuda":
            raise UserError(
                "renderer.backend", f'"gsplat" with tensors on {device}', "CUDA tensors", 'use "auto"'
            )
        from talkingavatar.splatting.gsplat_backend import rasterise_gsplat

        return rasterise_gsplat(gaussians, colours, cameras, background, mode)
    raise UserError(
        "renderer.backend", repr(backend), '"auto", "cpu", "plain" or "gsplat"', "choose one of them"
    )
