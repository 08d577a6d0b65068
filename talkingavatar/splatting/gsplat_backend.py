"""gsplat's CUDA kernels behind the same call.

Its parts are called, not `rasterization`: that inverts each view matrix, for which the host waits until the device has
come so far, and makes normals that nobody asks for. The one wait left is gsplat's own, for the number of intersections.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from talkingavatar.geometry.spherical_harmonics import sh_degree
from talkingavatar.splatting import gsplat_kernels
from talkingavatar.splatting.colours import directions, view_colours
from talkingavatar.splatting.conventions import ALPHA_EPS, BLUR_3DGS, FAR, NEAR, TILE, Mode
from talkingavatar.splatting.plain import depth_normals
from talkingavatar.types import Cameras, Gaussians, Rendering


def rasterise_gsplat(gaussians: Gaussians, cameras: Cameras, background: Float[Tensor, " 3"], mode: Mode) -> Rendering:
    """Render with gsplat; every camera lists every Gaussian (not packed), so that `info` is C N.

    Raises:
        UserError: the kernels are not there and cannot be compiled.
    """
    gsplat_kernels.load_kernels()
    return (_surfels if mode == "2dgs" else _ellipsoids)(gaussians, cameras, background)


def _surfels(g: Gaussians, cameras: Cameras, background: Tensor) -> Rendering:
    from gsplat import fully_fused_projection_2dgs

    splats = (g.means, g.quats, g.scales)
    seen = (cameras.viewmats, cameras.Ks, cameras.width, cameras.height)
    radii, means2d, depths, rays, normals = fully_fused_projection_2dgs(
        *splats, *seen, eps2d=BLUR_3DGS, near_plane=NEAR, far_plane=FAR
    )
    image, alpha, facing, _, median = _pixels_of_surfels()(
        means2d,
        rays,
        _features(g, cameras, depths),
        g.opacities.expand(len(cameras), -1),
        normals,
        means2d.detach(),  # stands for the sum that density control would read, which is a race in gsplat 1.5
        cameras.width,
        cameras.height,
        TILE,
        *_tiles(means2d, radii, depths, cameras),
        backgrounds=_backgrounds(background, cameras),
    )
    rgb, depth = _expected(image, alpha)
    in_world = torch.einsum("cji,chwj->chwi", cameras.viewmats[:, :3, :3], facing)
    surface = depth_normals(depth, cameras) * alpha.detach()
    info = {"radii": radii, "means2d": means2d, "ray_transforms": rays}
    return Rendering(rgb, alpha, depth, median, in_world, surface, info)


def _ellipsoids(g: Gaussians, cameras: Cameras, background: Tensor) -> Rendering:
    from gsplat import fully_fused_projection, rasterize_to_pixels

    splats = (g.means, None, g.quats, g.scales)
    seen = (cameras.viewmats, cameras.Ks, cameras.width, cameras.height)
    radii, means2d, depths, conics, _ = fully_fused_projection(
        *splats, *seen, eps2d=BLUR_3DGS, near_plane=NEAR, far_plane=FAR, opacities=g.opacities
    )
    image, alpha = rasterize_to_pixels(
        means2d,
        conics,
        _features(g, cameras, depths),
        g.opacities.expand(len(cameras), -1),
        cameras.width,
        cameras.height,
        TILE,
        *_tiles(means2d, radii, depths, cameras),
        backgrounds=_backgrounds(background, cameras),
    )
    rgb, depth = _expected(image, alpha)
    return Rendering(rgb, alpha, depth, info={"radii": radii, "means2d": means2d})


def _features(g: Gaussians, cameras: Cameras, depths: Float[Tensor, "C N"]) -> Float[Tensor, "C N 4"]:
    """Colours and, as the last channel, where gsplat looks for it, depth."""
    from gsplat import spherical_harmonics

    degree = sh_degree(g.sh.shape[1])
    if degree == 0:
        colours = view_colours(g, cameras)
    else:  # a camera at a time: releases differ in the shapes they take for several
        seen = [spherical_harmonics(degree, way, g.sh) for way in directions(g, cameras)]
        colours = (torch.stack(seen) + 0.5).clamp_min(0)
    return torch.cat([colours, depths[..., None]], -1)


def _tiles(
    means2d: Float[Tensor, "C N 2"], radii: Int[Tensor, "C N 2"], depths: Float[Tensor, "C N"], cameras: Cameras
) -> tuple[Int[Tensor, "C TH TW"], Int[Tensor, " X"]]:
    """Where each tile's splats begin in the list of all intersections, and that list."""
    from gsplat import isect_offset_encode, isect_tiles

    size = ((cameras.width + TILE - 1) // TILE, (cameras.height + TILE - 1) // TILE)
    _, ids, splats = isect_tiles(means2d, radii, depths, TILE, *size)
    return isect_offset_encode(ids, len(cameras), *size), splats


def _backgrounds(background: Float[Tensor, " 3"], cameras: Cameras) -> Float[Tensor, "C 4"]:
    """Nothing is at depth 0."""
    return pad(background, (0, 1)).expand(len(cameras), -1)


def _expected(
    image: Float[Tensor, "C H W 4"], alpha: Float[Tensor, "C H W 1"]
) -> tuple[Float[Tensor, "C H W 3"], Float[Tensor, "C H W 1"]]:
    """Colours and expected depth."""
    rgb, depth = image.split([3, 1], -1)
    return rgb, depth / alpha.clamp_min(ALPHA_EPS)


def _pixels_of_surfels() -> Callable[..., tuple[Tensor, ...]]:
    """gsplat's, or the same of gsplat 1.5 without a wait for the device in each backward pass."""
    if tuple(map(int, version("gsplat").split(".")[:2])) < (1, 6):
        from talkingavatar.splatting.gsplat_15 import pixels_of_surfels

        return pixels_of_surfels
    from gsplat import rasterize_to_pixels_2dgs

    return rasterize_to_pixels_2dgs
