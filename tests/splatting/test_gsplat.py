"""gsplat's kernels against ours: needs a CUDA device, and skips visibly without one."""

import warnings
from dataclasses import fields, replace

import pytest
import torch

from talkingavatar.splatting import rasterise
from talkingavatar.splatting.agreement import check_agreement
from talkingavatar.splatting.conventions import image_gradient, watched
from talkingavatar.types import Gaussians
from tests.splatting.scenes import ATTRIBUTES, as_motion, cameras, cloud, differentiable

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: gsplat's kernels cannot run")
BACKGROUND = torch.tensor([0.2, 0.5, 0.9])
IMAGES = {"3dgs": ("rgb", "alpha", "depth")}
IMAGES["2dgs"] = (*IMAGES["3dgs"], "normals", "depth_normals", "median_depth")


def render(device, mode, degree, count=1):
    """Images, and gradients of a random linear function of them."""
    scene = cloud(2000, degree, seed=6)
    scene = Gaussians(**{f.name: getattr(scene, f.name).to(device).detach().requires_grad_() for f in fields(scene)})
    views = cameras(count, 150, 130).to(device)
    views = replace(views, viewmats=views.viewmats.clone().requires_grad_())
    rendering = rasterise(scene, views, BACKGROUND.to(device), mode)
    watched(rendering.info).retain_grad()
    rng = torch.Generator().manual_seed(3)
    images = {name: getattr(rendering, name) for name in IMAGES[mode]}
    sum((x * torch.randn(x.shape, generator=rng).to(x)).sum() for x in images.values()).backward()
    gradients = {name: getattr(scene, name).grad for name in ATTRIBUTES}
    gradients |= {"cameras": as_motion(views.viewmats.grad, views.viewmats.detach())}
    gradients |= {"density": image_gradient(rendering.info)}
    cpu = {name: x.detach().cpu() for name, x in (images | gradients).items()}
    return cpu, rendering.info["radii"].cpu()


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("mode", ["3dgs", "2dgs"])
@pytest.mark.parametrize(("degree", "count"), [(0, 1), (3, 1), (1, 2)])
def test_gsplat_agrees_with_our_kernels(mode, degree, count):
    (ours, our_radii), (theirs, their_radii) = (render(device, mode, degree, count) for device in ("cpu", "cuda"))
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        error = (ours[name] - expected).norm() / expected.norm()
        assert error < 0.01, (name, float(error))
    assert ((our_radii > 0) == (their_radii > 0)).float().mean() > 0.999


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("mode", ["3dgs", "2dgs"])
def test_gsplat_shows_background_where_nothing_is(mode):
    views = cameras(1, 20, 20).to("cuda")
    behind = replace(cloud(3), means=torch.tensor([[0, 0, -9.0]] * 3))
    scene = Gaussians(**{f.name: getattr(behind, f.name).cuda() for f in fields(behind)})
    rendering = rasterise(scene, views, BACKGROUND.cuda(), mode)
    assert torch.allclose(rendering.rgb.cpu(), BACKGROUND.expand(1, 20, 20, 3))


@pytest.mark.gpu
@needs_cuda
def test_doctor_finds_the_kernels_right():
    assert check_agreement("cuda") < 0.01


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("mode", ["3dgs", "2dgs"])
def test_the_host_waits_once_a_step(mode):
    """For the number of intersections, whose list gsplat must make room for."""
    render("cuda", mode, 1)  # whatever is made on first use
    scene, views = (x.to("cuda") for x in (cloud(2000, 1, seed=6), cameras(1, 150, 130)))
    scene, background = differentiable(scene), BACKGROUND.cuda()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            rendering = rasterise(scene, views, background, mode)
            watched(rendering.info).retain_grad()
            rendering.rgb.sum().backward()
            image_gradient(rendering.info)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(warning.message) for warning in told if "synchronizing" in str(warning.message)]
    assert len(waits) <= 1, waits
