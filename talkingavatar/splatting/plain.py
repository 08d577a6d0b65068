"""The rasteriser in plain torch: slow, short, differentiable by autograd; the truth for the other backends.

3dgs: EWA splatting (Kerbl et al. 2023; Zwicker et al. 2001). 2dgs: ray-splat intersection with a screen-space
low-pass (Huang et al. 2024, eq. 8 to 11). Constants and cuts follow gsplat 1.5 (see `conventions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from talkingavatar.geometry.rotations import quat_to_matrix
from talkingavatar.splatting import conventions as cv
from talkingavatar.splatting.colours import view_colours
from talkingavatar.splatting.conventions import Mode, density_probe
from talkingavatar.types import Cameras, Gaussians, Rendering


@dataclass
class Projected:
    """N Gaussians seen by one camera. `shape` is the conic (3dgs) or the ray transform (2dgs)."""

    opacities: Float[Tensor, " N"]
    colours: Float[Tensor, "N 3"]
    means2d: Float[Tensor, "N 2"]
    depths: Float[Tensor, " N"]
    radii: Int[Tensor, "N 2"]  # pixels, 0 where culled
    shape: Float[Tensor, "N 3"] | Float[Tensor, "N 3 3"]
    normals: Float[Tensor, "N 3"] | None = None  # world space, facing the camera

    def __getitem__(self, index: Tensor) -> Projected:
        chosen: dict[str, Any] = {k: None if v is None else v[index] for k, v in vars(self).items()}
        return Projected(**chosen)

    def touching(self, tile: int, axis: int) -> Projected:
        """Those whose bounding box touches the tile's column (axis 0) or row (axis 1)."""
        centre, radius = self.means2d[:, axis].detach(), self.radii[:, axis]
        low, high = ((centre - radius) / cv.TILE).floor(), ((centre + radius) / cv.TILE).ceil()
        return self[((low <= tile) & (tile < high)).nonzero()[:, 0]]


def rasterise_plain(gaussians: Gaussians, cameras: Cameras, background: Float[Tensor, " 3"], mode: Mode) -> Rendering:
    """Render tile by tile, in the Gaussians' own precision."""
    colours = view_colours(gaussians, cameras)
    probe = density_probe(cameras, gaussians)
    images, means2d, radii = [], [], []
    for c in range(len(cameras)):
        view, K = cameras.viewmats[c], cameras.Ks[c]
        size = (cameras.width, cameras.height)
        project = _project_2dgs if mode == "2dgs" else _project_3dgs
        splats = project(gaussians, colours[c], view, K, *size)
        means2d.append(splats.means2d.detach())
        radii.append(splats.radii)
        splats = _attach_probe(splats, probe[c])
        images.append(_render(splats, background, *size))
    rgb, alpha, depth, median, normals = (torch.stack(x) for x in zip(*images, strict=True))
    info = {"radii": torch.stack(radii), "means2d": torch.stack(means2d)}
    info["gradient_2dgs" if mode == "2dgs" else "means2d"] = probe
    if mode == "3dgs":
        with torch.no_grad():
            probe.copy_(torch.stack(means2d))
        return Rendering(rgb, alpha, depth, info=info)
    surface = depth_normals(depth, cameras) * alpha.detach()
    return Rendering(rgb, alpha, depth, median, normals, surface, info)


def _attach_probe(splats: Projected, probe: Float[Tensor, "N 2"]) -> Projected:
    """Add a zero whose gradient is that of the image-plane position, what gsplat gives to density control."""
    if splats.normals is None:
        splats.means2d = splats.means2d + (probe - probe.detach())
        return splats
    shift = torch.zeros_like(splats.shape)
    shift[:, :2, 2] = (probe - probe.detach()) * splats.depths.detach()[:, None]
    splats.shape = splats.shape + shift
    return splats


def _project_3dgs(g: Gaussians, colours: Tensor, view: Tensor, K: Tensor, width: int, height: int) -> Projected:
    means, visible = _to_camera(g.means, view)
    x, y, z = means.unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = cv.FOV_MARGIN * width / fx, cv.FOV_MARGIN * height / fy
    tx = (x / z).clamp(-cx / fx - margin_x, (width - cx) / fx + margin_x)
    ty = (y / z).clamp(-cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    J = torch.stack([fx / z, zero, -fx * tx / z, zero, fy / z, -fy * ty / z], -1).unflatten(-1, (2, 3))
    M = J @ view[:3, :3] @ quat_to_matrix(g.quats) * g.scales[:, None]
    cov = M @ M.mT + cv.BLUR_3DGS * torch.eye(2, dtype=M.dtype, device=M.device)
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    a, b, c = cov[:, 0, 0], cov[:, 0, 1], cov[:, 1, 1]
    det = a * c - b * b
    with torch.no_grad():
        visible = visible & (det > 0) & (g.opacities >= cv.ALPHA_MIN)
        reach = (2 * (g.opacities / cv.ALPHA_MIN).clamp_min(1).log()).sqrt().clamp_max(cv.EXTENT)
        radii = (reach[:, None] * torch.stack([a, c], -1).sqrt()).ceil()
        radii = _cull(means2d, radii, visible, width, height)
    conics = torch.stack([c, -b, a], -1) / det[:, None]
    return Projected(g.opacities, colours, means2d, z, radii, conics)


def _project_2dgs(g: Gaussians, colours: Tensor, view: Tensor, K: Tensor, width: int, height: int) -> Projected:
    means, visible = _to_camera(g.means, view)
    R = quat_to_matrix(g.quats)
    axes = view[:3, :3] @ R[:, :, :2] * g.scales[:, None, :2]
    M = K @ torch.cat([axes, means[..., None]], -1)  # (u, v, 1) on the splat to homogeneous pixels
    test = torch.tensor([1.0, 1.0, -1.0], dtype=M.dtype, device=M.device)
    norm = (test * M[:, 2] ** 2).sum(-1)
    f = test / torch.where(norm == 0, torch.ones_like(norm), norm)[:, None]
    means2d = (f[:, None] * M[:, :2] * M[:, 2:]).sum(-1)
    normals = R[:, :, 2]
    with torch.no_grad():
        extent = means2d**2 - (f[:, None] * M[:, :2] ** 2).sum(-1)
        radii = (cv.EXTENT * extent.clamp_min(1e-4).sqrt()).ceil()
        radii = _cull(means2d, radii, visible & (norm != 0), width, height)
        facing = ((normals @ view[:3, :3].mT) * means).sum(-1, keepdim=True) < 0
    normals = torch.where(facing, normals, -normals)
    return Projected(g.opacities, colours, means2d, means[:, 2], radii, M, normals)


def _to_camera(means: Tensor, view: Tensor) -> tuple[Float[Tensor, "N 3"], Bool[Tensor, " N"]]:
    """Means in camera space, those outside the depth range moved to 1 m so that nothing divides by zero."""
    means = means @ view[:3, :3].mT + view[:3, 3]
    visible = (means[:, 2] > cv.NEAR) & (means[:, 2] < cv.FAR)
    return torch.where(visible[:, None], means, torch.ones_like(means)), visible


def _cull(means2d: Tensor, radii: Tensor, visible: Tensor, width: int, height: int) -> Int[Tensor, "N 2"]:
    size = torch.tensor([width, height], dtype=means2d.dtype, device=means2d.device)
    inside = ((means2d + radii > 0) & (means2d - radii < size)).all(-1)
    return torch.where((visible & inside)[:, None], radii, torch.zeros_like(radii)).int()


def _render(
    splats: Projected, background: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """rgb, alpha, depth, median depth, normals of one camera."""
    order = torch.argsort(splats.depths, stable=True)
    splats = splats[order[(splats.radii[order] > 0).all(-1)]]
    rows = []
    for ty in range((height + cv.TILE - 1) // cv.TILE):
        in_row, row = splats.touching(ty, axis=1), []
        for tx in range((width + cv.TILE - 1) // cv.TILE):
            pixels = _tile_pixels(tx, ty, width, height, splats.means2d)
            row.append(_render_tile(in_row.touching(tx, axis=0), background, pixels))
        rows.append(torch.cat(row, 1))
    image = torch.cat(rows, 0)
    rgb, alpha, depth, median, normals = image.split([3, 1, 1, 1, 3], -1)
    return rgb, alpha, depth / alpha.clamp_min(cv.ALPHA_EPS), median, normals


def _tile_pixels(tx: int, ty: int, width: int, height: int, like: Tensor) -> Float[Tensor, "h w 2"]:
    """Centres of the pixels of a tile."""
    x = torch.arange(tx * cv.TILE, min(width, (tx + 1) * cv.TILE), dtype=like.dtype, device=like.device)
    y = torch.arange(ty * cv.TILE, min(height, (ty + 1) * cv.TILE), dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(x + 0.5, y + 0.5, indexing="xy"), -1)


def _render_tile(splats: Projected, background: Tensor, pixels: Float[Tensor, "h w 2"]) -> Float[Tensor, "h w 9"]:
    """rgb, alpha, accumulated depth, median depth, accumulated normals."""
    h, w, _ = pixels.shape
    pixels = pixels.reshape(-1, 2)
    falloff = _sigma_3dgs if splats.normals is None else _sigma_2dgs
    sigma, valid = falloff(splats, pixels)
    alpha = (splats.opacities[:, None] * torch.exp(-sigma)).clamp_max(cv.ALPHA_MAX)
    alpha = torch.where(valid & (sigma >= 0) & (alpha >= cv.ALPHA_MIN), alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weight = torch.where(after > cv.TRANSMITTANCE_MIN, alpha * before, torch.zeros_like(alpha))
    normals = torch.zeros_like(splats.colours) if splats.normals is None else splats.normals
    ones = torch.ones_like(splats.opacities)[:, None]
    features = torch.cat([splats.colours, ones, splats.depths[:, None], normals], -1)
    rgb, total, depth, normal = (weight.T @ features).split([3, 1, 1, 3], -1)
    median = _median_depth(weight, before, splats.depths)
    image = torch.cat([rgb + (1 - total) * background, total, depth, median, normal], -1)
    return image.reshape(h, w, 9)


def _sigma_3dgs(splats: Projected, pixels: Tensor) -> tuple[Float[Tensor, "M P"], Bool[Tensor, "M P"]]:
    dx, dy = (splats.means2d[:, None] - pixels).unbind(-1)
    a, b, c = splats.shape[:, None].unbind(-1)
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    return sigma, torch.ones_like(sigma, dtype=torch.bool)


def _sigma_2dgs(splats: Projected, pixels: Tensor) -> tuple[Float[Tensor, "M P"], Bool[Tensor, "M P"]]:
    """Half the squared distance on the splat, or on the screen where that is smaller (2DGS eq. 8 to 11)."""
    rows = splats.shape[:, None]  # M 1 3 3
    h_u = pixels[None, :, 0, None] * rows[..., 2, :] - rows[..., 0, :]
    h_v = pixels[None, :, 1, None] * rows[..., 2, :] - rows[..., 1, :]
    hit = torch.linalg.cross(h_u, h_v)
    valid = hit[..., 2] != 0
    uv = hit[..., :2] / torch.where(valid, hit[..., 2], torch.ones_like(hit[..., 2]))[..., None]
    on_splat = (uv**2).sum(-1)
    on_screen = cv.FILTER_2DGS * ((splats.means2d[:, None] - pixels) ** 2).sum(-1)
    return 0.5 * torch.where(on_splat <= on_screen, on_splat, on_screen), valid


def _median_depth(weight: Tensor, before: Tensor, depths: Tensor) -> Float[Tensor, "P 1"]:
    """Depth of the last splat that contributes with a transmittance above 0.5 before it; 0 where none."""
    if len(depths) == 0:
        return weight.new_zeros(weight.shape[1], 1)
    candidate = (weight > 0) & (before > 0.5)
    place = torch.arange(1, len(depths) + 1, device=depths.device)[:, None] * candidate
    last = place.amax(0)
    return torch.where(last > 0, depths[(last - 1).clamp_min(0)], torch.zeros_like(weight[0]))[:, None]


def depth_normals(depth: Float[Tensor, "C H W 1"], cameras: Cameras) -> Float[Tensor, "C H W 3"]:
    """Unit normals (world space, facing the camera) of the surface in a depth image; 0 on the border pixels.

    Cross product of central differences of the unprojected points, as gsplat's `depth_to_normal`.
    """
    height, width = depth.shape[1:3]
    if min(height, width) < 3:
        return torch.zeros_like(depth).expand(-1, -1, -1, 3)
    x = torch.arange(width, dtype=depth.dtype, device=depth.device) + 0.5
    y = torch.arange(height, dtype=depth.dtype, device=depth.device) + 0.5
    fx, fy, cx, cy = (cameras.Ks[:, i, j, None, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    u, v = (x[:, None] - cx) / fx, (y[:, None, None] - cy) / fy  # not K's inverse, for which the host would wait
    points = torch.cat([depth * u, depth * v, depth], -1)  # camera space
    down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    right = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    normals = normalize(torch.linalg.cross(down, right), dim=-1)
    in_world = torch.einsum("cji,chwj->chwi", cameras.viewmats[:, :3, :3], normals)
    return torch.nn.functional.pad(in_world, (0, 0, 1, 1, 1, 1))
