"""One call that turns Gaussians and cameras into pixels, whatever machine it runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from jaxtyping import Float
from torch import Tensor

from talkingavatar.errors import UserError
from talkingavatar.splatting.conventions import Mode
from talkingavatar.types import Cameras, Gaussians, Rendering

NEEDS = {"cpu": "cpu", "gsplat": "cuda"}  # the device a backend's tensors live on


def rasterise(
    gaussians: Gaussians,
    cameras: Cameras,
    background: Float[Tensor, " 3"],
    mode: str = "2dgs",
    backend: str = "auto",
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
    rendering = _backend(backend, device.type)(gaussians, cameras, background, cast(Mode, mode))
    rendering.info |= {
        "width": cameras.width,
        "height": cameras.height,
        "n_cameras": len(cameras),
        "gaussian_ids": None,  # every camera lists every Gaussian
    }
    return rendering


def _backend(name: str, device: str) -> Callable[[Gaussians, Cameras, Tensor, Mode], Rendering]:
    if name == "plain":
        from talkingavatar.splatting.plain import rasterise_plain

        return rasterise_plain
    if name not in NEEDS:
        raise UserError("renderer.backend", repr(name), '"auto", "cpu", "plain" or "gsplat"', "choose one of them")
    if device != NEEDS[name]:
        found = f'"{name}" with tensors on {device}'
        raise UserError("renderer.backend", found, f"tensors on {NEEDS[name]}", 'use "auto"')
    if name == "cpu":
        from talkingavatar.splatting.cpu.backend import rasterise_cpu

        return rasterise_cpu
    from talkingavatar.splatting.gsplat_backend import rasterise_gsplat

    return rasterise_gsplat
