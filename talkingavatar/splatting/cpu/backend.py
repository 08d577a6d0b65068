"""Our own rasteriser for CPU tensors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.splatting.colours import view_colours
from talkingavatar.splatting.conventions import Mode, density_probe
from talkingavatar.splatting.cpu.autograd import Rasterise
from talkingavatar.splatting.cpu.depth_normals import surface_normals
from talkingavatar.types import Cameras, Gaussians, Rendering


def rasterise_cpu(gaussians: Gaussians, cameras: Cameras, background: Float[Tensor, " 3"], mode: Mode) -> Rendering:
    """Render with the compiled kernels, in float32."""
    surfel = mode == "2dgs"
    probe = density_probe(cameras, gaussians)
    colours = view_colours(gaussians, cameras)
    views = [_view(gaussians, colours[c], cameras, c, background, probe[c], surfel) for c in range(len(cameras))]
    rgb, alpha, depth, median, normals, means2d, radii, surface = (
        x[0][None] if len(cameras) == 1 else torch.stack(x) for x in zip(*views, strict=True)
    )
    if surfel:
        info = {"radii": radii, "means2d": means2d, "gradient_2dgs": probe}
        return Rendering(rgb, alpha, depth, median, normals, surface, info)
    with torch.no_grad():
        probe.copy_(means2d)
    return Rendering(rgb, alpha, depth, info={"radii": radii, "means2d": probe})


def _view(
    g: Gaussians, colours: Tensor, cameras: Cameras, c: int, background: Tensor, probe: Tensor, surfel: bool
) -> tuple[Tensor, ...]:
    """The images of one camera, splat centres and radii, and the normals of the depth image."""
    inputs = (g.means, g.quats, g.scales, g.opacities, colours, cameras.viewmats[c], cameras.Ks[c])
    ready = [x.float().contiguous() for x in (*inputs, background, probe)]
    images = Rasterise.apply(surfel, (cameras.width, cameras.height), *ready)
    surface = surface_normals(images[2], images[1], ready[5], ready[6]) if surfel else images[4]
    return (*images, surface)
