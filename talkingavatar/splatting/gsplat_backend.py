"""gsplat's CUDA kernels behind the same call."""

from __future__ import annotations

from typing import Any

from gsplat import rasterization, rasterization_2dgs
from jaxtyping import Float
from torch import Tensor

from talkingavatar.geometry.spherical_harmonics import sh_degree
from talkingavatar.splatting.conventions import FAR, NEAR, TILE, Mode
from talkingavatar.splatting.plain import depth_normals
from talkingavatar.types import Cameras, Gaussians, Rendering


def rasterise_gsplat(gaussians: Gaussians, cameras: Cameras, background: Float[Tensor, " 3"], mode: Mode) -> Rendering:
    """Render with gsplat 1.5; every camera lists every Gaussian (not packed), so that `info` is C N."""
    arguments: dict[str, Any] = {
        "means": gaussians.means,
        "quats": gaussians.quats,
        "scales": gaussians.scales,
        "opacities": gaussians.opacities,
        "colors": gaussians.sh,
        "sh_degree": sh_degree(gaussians.sh.shape[1]),
        "viewmats": cameras.viewmats,
        "Ks": cameras.Ks,
        "width": cameras.width,
        "height": cameras.height,
        "backgrounds": background.expand(len(cameras), -1).contiguous(),
        "near_plane": NEAR,
        "far_plane": FAR,
        "tile_size": TILE,
        "packed": False,
        "render_mode": "RGB+ED",
    }
    if mode == "3dgs":
        image, alpha, info = rasterization(**arguments)
        rgb, depth = image.split([3, 1], -1)
        return Rendering(rgb, alpha, depth, info=_kept(info, "means2d"))
    # gsplat's own depth normals lose the camera axis when there is one camera, so they are made here.
    image, alpha, normals, _, _, median, info = rasterization_2dgs(**arguments)
    rgb, depth = image.split([3, 1], -1)
    surface = depth_normals(depth, cameras) * alpha.detach()
    return Rendering(rgb, alpha, depth, median, normals, surface, _kept(info, "means2d", "gradient_2dgs"))


def _kept(info: dict[str, Any], *names: str) -> dict[str, Any]:
    """What density control reads, without the lists of tiles, which are large."""
    return {name: info[name] for name in ("radii", *names)}
