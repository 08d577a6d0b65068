"""Our calls of gsplat, run with its own torch functions for kernels, against the plain rasteriser."""

from dataclasses import replace

import gsplat
import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.splatting import agreement, gsplat_backend
from talkingavatar.splatting.agreement import check_agreement
from talkingavatar.splatting.conventions import image_gradient, watched
from talkingavatar.splatting.gsplat_backend import rasterise_gsplat
from talkingavatar.splatting.plain import rasterise_plain
from tests.splatting.fake_kernels import Counted, kernels  # noqa: F401
from tests.splatting.scenes import ATTRIBUTES, as_motion, cameras, cloud, differentiable

BACKGROUND = torch.tensor([0.2, 0.5, 0.9])
IMAGES = {"3dgs": ("rgb", "alpha", "depth")}
IMAGES["2dgs"] = (*IMAGES["3dgs"], "normals", "depth_normals", "median_depth")


def rendered(rasteriser, mode, degree, count):
    """Images, gradients of a random linear function of them, and the density signal."""
    scene = differentiable(cloud(60, degree, seed=6))
    views = cameras(count, 36, 30)
    views = replace(views, viewmats=views.viewmats.clone().requires_grad_())
    rendering = rasteriser(scene, views, BACKGROUND, mode)
    watched(rendering.info).retain_grad()
    rng = torch.Generator().manual_seed(3)
    images = {name: getattr(rendering, name) for name in IMAGES[mode]}
    sum((x * torch.randn(x.shape, generator=rng)).sum() for x in images.values()).backward()
    found = images | {f"of {name}": getattr(scene, name).grad for name in ATTRIBUTES}
    found |= {
        "of the cameras": as_motion(views.viewmats.grad, views.viewmats.detach()),
        "density": image_gradient(rendering.info),
    }
    return {name: x.detach() for name, x in found.items()}, rendering.info


def fully_fused_projection(
    means, covars, quats, scales, viewmats, Ks, width, height, eps2d=0.3, near_plane=0.01, far_plane=1e10,
    radius_clip=0.0, packed=False, sparse_grad=False, calc_compensations=False, camera_model="pinhole", opacities=None,
): ...  # fmt: skip


def fully_fused_projection_2dgs(
    means, quats, scales, viewmats, Ks, width, height, eps2d=0.3, near_plane=0.01, far_plane=1e10,
    radius_clip=0.0, packed=False, sparse_grad=False,
): ...  # fmt: skip


def isect_tiles(
    means2d, radii, depths, tile_size, tile_width, tile_height, sort=True, segmented=False, packed=False,
    n_images=None, image_ids=None, gaussian_ids=None, conics=None, opacities=None,
): ...  # fmt: skip


def isect_offset_encode(isect_ids, n_images, tile_width, tile_height): ...


def spherical_harmonics(degrees_to_use, dirs, coeffs, masks=None):
    """One set of coefficients for all views."""
    assert dirs.dim() >= 2 and coeffs.dim() == 3 and coeffs.shape[0] == dirs.shape[-2]


def rasterize_to_pixels(
    means2d, conics, colors, opacities, image_width, image_height, tile_size, isect_offsets, flatten_ids,
    backgrounds=None, masks=None, packed=False, absgrad=False,
): ...  # fmt: skip


def rasterize_to_pixels_2dgs(
    means2d, ray_transforms, colors, opacities, normals, densify, image_width, image_height, tile_size, isect_offsets,
    flatten_ids, backgrounds=None, masks=None, packed=False, absgrad=False, distloss=False,
): ...  # fmt: skip


RELEASE_16 = (  # what gsplat 1.6 takes
    fully_fused_projection, fully_fused_projection_2dgs, isect_tiles, isect_offset_encode, spherical_harmonics,
    rasterize_to_pixels, rasterize_to_pixels_2dgs,
)  # fmt: skip


@pytest.fixture(params=["1.5.3", "1.6.0"])
def release(request, kernels, monkeypatch):  # noqa: F811
    """gsplat as installed, of which nothing may wait for the device; or as if it were 1.6, that each call must suit."""
    monkeypatch.setattr(gsplat_backend, "version", lambda name: request.param)
    if request.param == "1.5.3":
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: pytest.fail("waits for the device"))
        return
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)  # gsplat 1.5's; 1.6 has none
    for taken in RELEASE_16:
        installed = getattr(gsplat, taken.__name__)
        monkeypatch.setattr(gsplat, taken.__name__, suiting(taken, installed))


def suiting(taken, installed):
    def call(*arguments, **named):
        taken(*arguments, **named)
        return installed(*arguments, **named)

    return call


@pytest.mark.parametrize("mode", ["3dgs", "2dgs"])
@pytest.mark.parametrize(("degree", "count"), [(0, 1), (3, 2)])
def test_gsplat_is_called_as_the_plain_rasteriser_renders(release, mode, degree, count):
    (theirs, info), (plain, expected) = (
        rendered(rasteriser, mode, degree, count) for rasteriser in (rasterise_gsplat, rasterise_plain)
    )
    for name, value in plain.items():
        assert theirs[name].shape == value.shape, name
        error = (theirs[name] - value).norm() / value.norm()
        assert error < 1e-4, (name, float(error))
    assert info["radii"].shape == (count, 60, 2)
    assert torch.equal((info["radii"] > 0).all(-1), (expected["radii"] > 0).all(-1))
    torch.testing.assert_close(info["means2d"], expected["means2d"])


@pytest.mark.parametrize(("mode", "launches"), [("3dgs", 30), ("2dgs", 100)])
def test_the_host_waits_for_nothing_but_gsplat_itself(kernels, mode, launches):  # noqa: F811
    """Its list of intersections; all else of a rendering, its gradient and what density control reads of it runs on."""
    scene, views = differentiable(cloud(20, seed=6)), cameras(1, 36, 30)
    weight = torch.rand(1, 30, 36, 3)
    with Counted() as counted:
        rendering = rasterise_gsplat(scene, views, BACKGROUND, mode)
        watched(rendering.info).retain_grad()
        loss = (rendering.rgb * weight).sum()
        if mode == "2dgs":
            loss = loss + (rendering.normals * rendering.depth_normals).sum()
        loss.backward()
        image_gradient(rendering.info)
    assert counted.waits == []
    assert len(counted.launches) < launches


def test_doctor_compares_what_the_kernels_draw(kernels, monkeypatch):  # noqa: F811
    monkeypatch.setattr(agreement, "SIZE", 32)
    assert 0 < check_agreement("cpu") < 1e-4
    right = kernels.rasterize_to_pixels_3dgs_fwd
    kernels.rasterize_to_pixels_3dgs_fwd = lambda *arguments: [0.9 * x for x in right(*arguments)[:2]] + [None]
    with pytest.raises(UserError, match=r"3dgs .* differs by .* from the plain"):
        check_agreement("cpu")


def test_kernels_made_for_another_gpu_are_told_in_one_line(kernels, monkeypatch):  # noqa: F811
    def refuse(*arguments):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with ...")

    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0")
    kernels.projection_2dgs_fused_fwd = refuse
    with pytest.raises(UserError, match=r"no kernel image .*remove .*9\.0\.so, or use trainer=cpu$"):
        check_agreement("cpu")
