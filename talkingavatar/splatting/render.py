"""One call that turns Gaussians and cameras into pixels, whatever machine it runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.errors import UserError
from talkingavatar.splatting.conventions import Mode
from talkingavatar.types import Cameras, Gaussians, Rendering

NEEDS = {"cpu": "cpu", "gsplat": "cuda"}  # the device a backend's tensors live on
INSTEAD = {"cpu": ", or trainer=cpu"}


def rasterise(
    gaussians: Gaussians,
    cameras: Cameras,
    background: Float[Tensor, " 3"],
    mode: str = "2dgs",
    backend: str = "auto",
) -> Rendering:
    """Render Gaussians; differentiable in all of them and in the view matrices, as long as they stay rigid.

    Args:
        gaussians: N activated Gaussians.
        cameras: C cameras.
        background: colour behind them, the same for all cameras.
        mode: "3dgs" ellipsoids (EWA) or "2dgs" surfels, which also give normals and the median depth.
        backend: "auto" is gsplat for CUDA tensors and our own for CPU tensors; "plain" is the readable one.

    Returns:
        The rendering. `info` holds what density control reads: what `conventions.image_gradient` reads once the
        backward pass has been, `radii` (C N 2, pixels, 0 where culled), `width`, `height`, `n_cameras`.

    Raises:
        UserError: mode or backend is unknown, or the backend cannot take these tensors.
    """
    device = gaussians.means.device.type
    rendering = _backend(_chosen(backend, device))(gaussians, cameras, background, _mode(mode))
    rendering.info |= {
        "width": cameras.width,
        "height": cameras.height,
        "n_cameras": len(cameras),
    }
    return rendering


def paint(
    gaussians: Gaussians,
    camera: Cameras,
    background: Float[Tensor, "#H #W 3"],
    mode: str = "2dgs",
    backend: str = "auto",
) -> UInt8[ndarray, "H W 3"]:
    """The colours of `rasterise`, clamped and rounded, and nothing else: what a film is made of.

    Args:
        camera: one.
        background: a colour, or a picture.

    Raises:
        UserError: as `rasterise`.
    """
    if _chosen(backend, gaussians.means.device.type) == "cpu":
        from talkingavatar.splatting.cpu.paint import paint_cpu

        return paint_cpu(gaussians, camera, background, _mode(mode))
    drawn = rasterise(gaussians, camera, background.new_zeros(3), mode, backend)
    rgb = drawn.rgb[0] + (1 - drawn.alpha[0]) * background
    return to_bytes(rgb)


def to_bytes(image: Float[Tensor, "H W 3"]) -> UInt8[ndarray, "H W 3"]:
    """As pictures are kept: clamped and rounded."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def ready(backend: str, device: str) -> None:
    """Refuse at once what could not be rendered later; kernels that take minutes to compile are compiled here.

    Args:
        device: "cpu" or "cuda", where the Gaussians will be.

    Raises:
        UserError: the backend is unknown or not for this device, or gsplat's kernels cannot be had.
    """
    if _chosen(backend, device) == "gsplat":
        from talkingavatar.splatting.gsplat_kernels import load_kernels

        load_kernels()


def _mode(mode: str) -> Mode:
    if mode not in ("3dgs", "2dgs"):
        raise UserError("renderer.mode", repr(mode), '"3dgs" or "2dgs"', "choose one of them")
    return cast(Mode, mode)


def _chosen(backend: str, device: str) -> str:
    if backend == "auto":
        return "gsplat" if device == "cuda" else "cpu"
    if backend != "plain" and backend not in NEEDS:
        raise UserError("renderer.backend", repr(backend), '"auto", "cpu", "plain" or "gsplat"', "choose one of them")
    needed = NEEDS.get(backend, device)
    if device != needed:
        found = f'"{backend}" with tensors on {device}'
        raise UserError("renderer.backend", found, f"tensors on {needed}", f'use "auto"{INSTEAD.get(backend, "")}')
    return backend


def _backend(name: str) -> Callable[[Gaussians, Cameras, Tensor, Mode], Rendering]:
    if name == "plain":
        from talkingavatar.splatting.plain import rasterise_plain

        return rasterise_plain
    if name == "cpu":
        from talkingavatar.splatting.cpu.backend import rasterise_cpu

        return rasterise_cpu
    from talkingavatar.splatting.gsplat_backend import rasterise_gsplat

    return rasterise_gsplat
