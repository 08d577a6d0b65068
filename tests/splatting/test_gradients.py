"""Gradients: plain against finite differences, the kernels against plain, the same for any thread count."""

from dataclasses import fields, replace

import pytest
import torch

from talkingavatar.splatting import rasterise
from talkingavatar.types import Gaussians
from tests.splatting.scenes import ATTRIBUTES, awkward, cameras, cloud, differentiable

MODES = ("3dgs", "2dgs")
BACKGROUND = torch.tensor([0.2, 0.5, 0.9])
IMAGES = {"3dgs": ("rgb", "alpha", "depth")}
IMAGES["2dgs"] = (*IMAGES["3dgs"], "normals", "depth_normals", "median_depth")


def loss(rendering, names):
    """A random linear function of the images."""
    rng = torch.Generator().manual_seed(3)
    images = [getattr(rendering, name) for name in names]
    return sum((x * torch.randn(x.shape, generator=rng).to(x)).sum() for x in images)


def gradients(scene, views, mode, backend, names=None):
    """Of every attribute, of the view matrices and of the image plane; by name."""
    scene = differentiable(scene)
    views = replace(views, viewmats=views.viewmats.clone().requires_grad_())
    rendering = rasterise(scene, views, BACKGROUND.to(scene.means), mode, backend)
    probe = rendering.info["gradient_2dgs" if mode == "2dgs" else "means2d"]
    probe.retain_grad()
    loss(rendering, names or IMAGES[mode]).backward()
    found = {name: getattr(scene, name).grad for name in ATTRIBUTES}
    return found | {"viewmats": views.viewmats.grad, "probe": probe.grad}


@pytest.mark.parametrize("mode", MODES)
def test_plain_agrees_with_finite_differences(mode):
    """In double precision, on splats wide enough that no pixel is at a cut."""
    scene = cloud(4, degree=1, dtype=torch.float64)
    scene = replace(scene, scales=scene.scales + 0.6, opacities=scene.opacities * 0.5 + 0.2)
    views = cameras(1, 6, 5, dtype=torch.float64)
    background = BACKGROUND.double()

    def images(*inputs):
        seen = rasterise(Gaussians(*inputs[:5]), replace(views, viewmats=inputs[5]), background, mode, "plain")
        return tuple(getattr(seen, name) for name in IMAGES[mode][:4])

    inputs = [*vars(scene).values(), views.viewmats]
    leaves = [x.clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(images, leaves, atol=1e-6, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("degree", [0, 3])
def test_kernels_agree_with_plain(mode, degree):
    scene, views = cloud(300, degree, seed=5), cameras(2, 45, 38)
    fast, plain = (gradients(scene, views, mode, b) for b in ("cpu", "plain"))
    for name, expected in plain.items():
        error = (fast[name] - expected).norm() / expected.norm()
        assert error < 2e-3, (name, float(error))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(32, 32), (33, 32), (34, 35), (45, 38), (47, 63)])
def test_what_reaches_over_the_edge_agrees_with_plain(mode, size):
    """Of tiles and blocks that the image's edge cuts, the pixels beyond it add nothing."""
    scene, views = cloud(300, 0, seed=5), cameras(1, *size, distance=1.9)
    assert rasterise(scene, views, BACKGROUND, mode).alpha[:, :, [0, -1]].mean() > 0.5, "the edges are covered"
    fast, plain = (gradients(scene, views, mode, b, ["rgb", "alpha"]) for b in ("cpu", "plain"))
    for name, expected in plain.items():
        error = (fast[name] - expected).norm() / expected.norm()
        assert error < 2e-3, (name, float(error))


@pytest.mark.parametrize("image", IMAGES["2dgs"])
def test_each_image_has_its_gradient_alone(image):
    scene, views = cloud(120, 1, seed=8), cameras(1, 30, 30)
    fast, plain = (gradients(scene, views, "2dgs", b, [image]) for b in ("cpu", "plain"))
    for name, expected in plain.items():
        found = torch.zeros_like(expected) if fast[name] is None else fast[name]
        assert (found - expected).norm() <= 2e-3 * expected.norm() + 1e-6, name


@pytest.mark.parametrize("mode", MODES)
def test_awkward_scenes_have_finite_gradients(mode):
    for name, gradient in gradients(awkward(), cameras(1, 61, 47), mode, "cpu").items():
        assert torch.isfinite(gradient).all(), name


@pytest.mark.parametrize("mode", MODES)
def test_culled_splats_get_no_gradient(mode):
    scene, views = awkward(), cameras(1, 61, 47)
    hidden = ~(rasterise(scene, views, BACKGROUND, mode).info["radii"][0] > 0).all(-1)
    assert hidden.any()
    for name, gradient in gradients(scene, views, mode, "cpu").items():
        if name in ATTRIBUTES:
            assert not gradient[hidden].any(), name


@pytest.mark.parametrize("mode", MODES)
def test_results_do_not_depend_on_the_number_of_threads(mode):
    """To the last bit: a resumed run must equal an uninterrupted one."""
    scene, views = cloud(600, 1, seed=2), cameras(2, 70, 90)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            image = rasterise(scene, views, BACKGROUND, mode).rgb
            found.append({"rgb": image, **gradients(scene, views, mode, "cpu")})
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for name, value in found[0].items():
            assert torch.equal(other[name], value), name


def test_a_fit_finds_a_moved_splat():
    """Descent on the image brings every attribute's error down: directions are right, not just magnitudes."""
    target = cloud(30, seed=4)
    views = cameras(2, 32, 32)
    wanted = rasterise(target, views, BACKGROUND).rgb
    rng = torch.Generator().manual_seed(0)
    start = {f.name: getattr(target, f.name) for f in fields(target)}
    start["means"] = start["means"] + 0.05 * torch.randn(30, 3, generator=rng)
    scene = differentiable(Gaussians(**start))
    optimiser = torch.optim.Adam([scene.means], lr=0.005)
    losses = []
    for _ in range(60):
        error = (rasterise(scene, views, BACKGROUND).rgb - wanted).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        losses.append(float(error.detach()))
    assert losses[-1] < 0.05 * losses[0]
