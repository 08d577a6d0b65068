"""gsplat's kernels on a CPU, by its own torch functions, so that its Python runs as it does before a GPU.

Arguments and results are those of gsplat 1.5.3's C++ functions; gradients are autograd's of the same torch functions.
"""

import sys
import types

import pytest
import torch
from gsplat.cuda import _torch_impl as ewa
from gsplat.cuda import _torch_impl_2dgs as surfel
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from talkingavatar.splatting import gsplat_kernels


def gradients(function, inputs, v_outputs):
    """Of a function's results, zeros where one does not depend on an input."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    with torch.enable_grad():
        outputs = function(*leaves)
    found = torch.autograd.grad(outputs, leaves, v_outputs, allow_unused=True)
    return [torch.zeros_like(x) if v is None else v for x, v in zip(leaves, found, strict=True)]


# -- projection --------------------------------------------------------------------------------------------------------


def surfels(means, quats, scales, *camera):
    """The kernel takes a surfel's third scale for 1, and so normals are of unit length; the torch function does not."""
    flat = torch.cat([scales[..., :2], torch.ones_like(scales[..., :1])], -1)
    return surfel._fully_fused_projection_2dgs(means, quats, flat, *camera)


def project_2dgs(means, quats, scales, viewmats, Ks, width, height, eps2d, near, far, clip):
    return surfels(means, quats, scales, viewmats, Ks, width, height, near, far)


def project_2dgs_backward(
    means, quats, scales, viewmats, Ks, width, height, radii, rays, v_means2d, v_depths, v_normals, v_rays, needed
):
    def function(*leaves):
        return surfels(*leaves, Ks, width, height)[1:]

    return gradients(function, (means, quats, scales, viewmats), (v_means2d, v_depths, v_rays, v_normals))


def ellipsoids(means, quats, scales, viewmats, Ks, width, height, eps2d):
    covars, _ = ewa._quat_scale_to_covar_preci(quats, scales, compute_preci=False)
    return ewa._fully_fused_projection(means, covars, viewmats, Ks, width, height, eps2d)


def project_3dgs(
    means, covars, quats, scales, opacities, viewmats, Ks, width, height, eps2d, near, far, clip, compensate, model
):
    assert covars is None and opacities.shape == means.shape[:-1] and not compensate and model == "pinhole"
    return ellipsoids(means, quats, scales, viewmats, Ks, width, height, eps2d)


def project_3dgs_backward(
    means, covars, quats, scales, viewmats, Ks, width, height, eps2d, model, radii, conics, compensations,
    v_means2d, v_depths, v_conics, v_compensations, needed,
):  # fmt: skip
    def function(*leaves):
        return ellipsoids(*leaves, Ks, width, height, eps2d)[1:4]

    v_inputs = gradients(function, (means, quats, scales, viewmats), (v_means2d, v_depths, v_conics))
    return v_inputs[0], None, *v_inputs[1:]


def harmonics_backward(count, degree, directions, coefficients, masks, v_colours, needed):
    def function(way, values):
        return (ewa._spherical_harmonics(degree, way, values),)

    return gradients(function, (directions, coefficients), (v_colours,))[::-1]


# -- lists of tiles ----------------------------------------------------------------------------------------------------


def tiles(means2d, radii, depths, images, gaussians, count, tile, columns, rows, sort, segmented):
    assert images is None and gaussians is None and sort
    return ewa._isect_tiles(means2d, radii, depths, tile, columns, rows)


def samples(width, height, tile, starts, ids, count):
    """Splat, pixel and image of all that lies in a tile's list and in the tile: pixel by pixel from near to far."""
    images, rows, columns = starts.shape
    ends = torch.cat([starts.flatten()[1:], torch.tensor([len(ids)])]).view_as(starts)
    found = []
    for i, y, x in torch.cartesian_prod(*map(torch.arange, (images, rows, columns))).tolist():
        mine = ids[starts[i, y, x] : ends[i, y, x]].long() - i * count
        across = torch.arange(x * tile, min(width, (x + 1) * tile))
        down = torch.arange(y * tile, min(height, (y + 1) * tile))
        pixel = (down[:, None] * width + across).flatten()
        found.append(torch.cartesian_prod(pixel, mine).view(-1, 2).T)
        found[-1] = torch.cat([found[-1], torch.full_like(found[-1][:1], i)])
    pixel, splat, image = torch.cat(found, 1)
    order = torch.argsort(image * width * height + pixel, stable=True)
    return splat[order], pixel[order], image[order]


# -- compositing -------------------------------------------------------------------------------------------------------


class Rays(types.ModuleType):
    """What gsplat composites with of the package `nerfacc`; with the thresholds of gsplat's kernels."""

    weights = before = None  # of the last call

    def render_weight_from_alpha(self, alphas, ray_indices, n_rays):
        alphas = torch.where(alphas >= 1 / 255, alphas, 0.0)
        passed = torch.log1p(-alphas.double())
        summed = torch.cumsum(passed, 0) - passed
        new = torch.cat([torch.ones(1, dtype=torch.bool), ray_indices[1:] != ray_indices[:-1]])
        self.before = torch.exp(summed - summed[new][torch.cumsum(new, 0) - 1]).float()
        self.weights = torch.where(self.before * (1 - alphas) > 1e-4, alphas * self.before, 0.0)
        return self.weights, self.before

    def accumulate_along_rays(self, weights, values, ray_indices, n_rays):
        found = weights[:, None] if values is None else weights[:, None] * values
        return torch.zeros(n_rays, found.shape[-1]).index_add(0, ray_indices, found)


RAYS = Rays("nerfacc")


def median(features, splat, pixel, image, shape):
    """Depth, the last feature, of each pixel's last sample that counts with half of the light left; 0 where none."""
    counts = (RAYS.weights > 0) & (RAYS.before > 0.5)
    place = (image * shape[1] * shape[2] + pixel)[counts]
    last = torch.full((shape.numel(),), -1).scatter_reduce(0, place, counts.nonzero()[:, 0], "amax")
    depths = features[image[last], splat[last], -1]
    return torch.where(last >= 0, depths, 0.0).view(*shape, 1)


def composite(splats, backgrounds, width, height, tile, starts, ids, function):
    """Images by gsplat's `accumulate`, over the background; the median depth is the last."""
    means2d, features = splats[0], splats[3]
    chosen = samples(width, height, tile, starts, ids, means2d.shape[1])
    image, alpha, *normals = function(*splats, *chosen, width, height)
    image = image + (1 - alpha) * backgrounds[:, None, None]
    return image, alpha, *normals, median(features, *chosen, torch.Size([len(means2d), height, width]))


def pixels_2dgs(means2d, rays, features, opacities, normals, backgrounds, masks, *lists):
    splats = (means2d, rays, opacities, features, normals)
    image, alpha, facing, depth = composite(splats, backgrounds, *lists, surfel.accumulate_2dgs)
    return image, alpha, facing, torch.zeros_like(alpha), depth, None, None


def pixels_2dgs_backward(
    means2d, rays, features, opacities, normals, densify, backgrounds, masks, width, height, tile, starts, ids,
    image, alpha, last_ids, median_ids, v_image, v_alpha, v_normals, v_distort, v_median, absgrad,
):  # fmt: skip
    def function(*leaves):
        found = pixels_2dgs(*leaves, backgrounds, masks, width, height, tile, starts, ids)
        return (*found[:3], found[4])

    inputs = (means2d, rays, features, opacities, normals)
    v_inputs = gradients(function, inputs, (v_image, v_alpha, v_normals, v_median))
    return None, *v_inputs, torch.full_like(densify, torch.nan)


def pixels_3dgs(means2d, conics, features, opacities, backgrounds, masks, *lists):
    splats = (means2d, conics, opacities, features)
    return *composite(splats, backgrounds, *lists, ewa.accumulate)[:2], None


def pixels_3dgs_backward(
    means2d, conics, features, opacities, backgrounds, masks, width, height, tile, starts, ids,
    alpha, last_ids, v_image, v_alpha, absgrad,
):  # fmt: skip
    def function(*leaves):
        return pixels_3dgs(*leaves, backgrounds, masks, width, height, tile, starts, ids)[:2]

    return None, *gradients(function, (means2d, conics, features, opacities), (v_image, v_alpha))


KERNELS = types.SimpleNamespace(
    CameraModelType="pinhole",
    PINHOLE="pinhole",
    projection_2dgs_fused_fwd=project_2dgs,
    projection_2dgs_fused_bwd=project_2dgs_backward,
    projection_ewa_3dgs_fused_fwd=project_3dgs,
    projection_ewa_3dgs_fused_bwd=project_3dgs_backward,
    spherical_harmonics_fwd=lambda degree, way, values, masks: ewa._spherical_harmonics(degree, way, values),
    spherical_harmonics_bwd=harmonics_backward,
    intersect_tile=tiles,
    intersect_offset=ewa._isect_offset_encode,
    rasterize_to_pixels_2dgs_fwd=pixels_2dgs,
    rasterize_to_pixels_2dgs_bwd=pixels_2dgs_backward,
    rasterize_to_pixels_3dgs_fwd=pixels_3dgs,
    rasterize_to_pixels_3dgs_bwd=pixels_3dgs_backward,
)


def uncounted(kernel):
    """A kernel is one launch, whatever its torch function takes."""

    def run(*arguments):
        with _disable_current_modes():
            return kernel(*arguments)

    return run if callable(kernel) else kernel


@pytest.fixture
def kernels(monkeypatch):
    """gsplat as if its kernels had been compiled."""
    compiled = types.SimpleNamespace(**{name: uncounted(kernel) for name, kernel in vars(KERNELS).items()})
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", types.SimpleNamespace(_C=compiled))
    monkeypatch.setitem(sys.modules, "nerfacc", RAYS)
    monkeypatch.setattr(gsplat_kernels, "load_kernels", lambda: None)
    return compiled


class Counted(TorchDispatchMode):
    """Operations, of which each but a view is about one launch, and those for which the host waits for the device."""

    WAITS = ("_local_scalar_dense", "nonzero", "_linalg_check_errors")

    def __init__(self):
        super().__init__()
        self.launches, self.waits = [], []

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function.overloadpacket.__name__
        masked = name == "index" and any(i is not None and i.dtype == torch.bool for i in arguments[1])
        if name in self.WAITS or masked:
            self.waits.append(name)
        if not function.is_view:
            self.launches.append(name)
        return function(*arguments, **(named or {}))
