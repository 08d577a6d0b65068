"""What a rendering must be: closed forms, and the compiled kernels against the plain version."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.splatting import paint, rasterise
from talkingavatar.types import Cameras
from tests.splatting.scenes import awkward, cameras, cloud, concatenate, one

BLACK, WHITE = torch.zeros(3), torch.ones(3)
BACKENDS, MODES = ("cpu", "plain"), ("3dgs", "2dgs")
IMAGES = ("rgb", "alpha", "depth", "median_depth", "normals", "depth_normals")


def centred(width=33, height=17, distance=2.0):
    """A camera whose middle pixel looks along its axis."""
    K = torch.tensor([[[40.0, 0, width / 2], [0, 40.0, height / 2], [0, 0, 1]]])
    view = torch.eye(4)[None].clone()
    view[:, 2, 3] = distance
    return Cameras(view, K, width, height)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
def test_one_splat_has_its_closed_form(mode, backend):
    """At its centre a splat shows its opacity; d pixels away the exponential of its projected variance."""
    r = rasterise(one(scale=0.1, opacity=0.8), centred(), WHITE, mode, backend)
    assert r.alpha[0, 8, 16, 0] == pytest.approx(0.8, abs=1e-5)
    assert torch.allclose(r.rgb[0, 8, 16], 0.8 * torch.tensor([1, 0.5, 0.25]) + 0.2, atol=1e-5)
    assert r.depth[0, 8, 16, 0] == pytest.approx(2.0, abs=1e-5)
    variance = (40 * 0.1 / 2) ** 2 + (0.3 if mode == "3dgs" else 0.0)
    assert r.alpha[0, 8, 19, 0] == pytest.approx(0.8 * math.exp(-9 / (2 * variance)), rel=1e-4)
    if mode == "2dgs":
        assert r.median_depth is not None and r.normals is not None
        assert r.median_depth[0, 8, 16, 0] == pytest.approx(2.0, abs=1e-5)
        assert torch.allclose(r.normals[0, 8, 16], torch.tensor([0, 0, -0.8]), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
def test_the_nearer_splat_hides_the_farther(mode, backend):
    near = one(mean=(0, 0, -0.5), opacity=0.6, colour=(1, 0, 0))
    far = one(mean=(0, 0, 0.5), opacity=0.5, colour=(0, 1, 0))
    for scene in (concatenate(near, far), concatenate(far, near)):
        r = rasterise(scene, centred(), BLACK, mode, backend)
        assert torch.allclose(r.rgb[0, 8, 16], torch.tensor([0.6, 0.4 * 0.5, 0]), atol=1e-5)
        assert r.depth[0, 8, 16, 0] == pytest.approx((0.6 * 1.5 + 0.2 * 2.5) / 0.8, abs=1e-5)


@pytest.mark.parametrize("scene", [cloud(degree=2), awkward()], ids=["cloud", "awkward"])
@pytest.mark.parametrize("mode", MODES)
def test_colours_alone_are_those_of_the_whole_rendering(mode, scene):
    """Of a size that no tile divides, before a colour and before a picture."""
    camera = cameras()
    picture = torch.rand(camera.height, camera.width, 3, generator=torch.Generator().manual_seed(0))
    whole = rasterise(scene, camera, BLACK, mode, "cpu")
    for background in (torch.tensor([[[0.2, 0.9, 0.4]]]), picture):
        expected = 255 * (whole.rgb[0] + (1 - whole.alpha[0]) * background).clamp(0, 1)
        for backend in BACKENDS:
            painted = torch.from_numpy(paint(scene, camera, background, mode, backend)).float()
            assert (painted - expected).abs().max() < 0.51, backend
    with pytest.raises(RuntimeError, match="shape"):
        paint(scene, camera, picture[1:], mode)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_median_is_the_splat_that_passes_one_half(backend):
    layers = [one(mean=(0, 0, z), opacity=0.3) for z in (-0.5, 0.0, 0.5, 1.0)]  # 1, .7, .49 before each
    r = rasterise(concatenate(*layers), centred(), BLACK, "2dgs", backend)
    assert r.median_depth is not None
    assert r.median_depth[0, 8, 16, 0] == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
def test_nothing_to_see_is_background(mode, backend):
    background = torch.tensor([0.1, 0.2, 0.3])
    nothing = cloud(0)
    behind, faint = one(mean=(0, 0, -3.0)), one(opacity=0.003)
    for scene in (nothing, behind, faint):
        r = rasterise(scene, centred(), background, mode, backend)
        assert torch.equal(r.rgb, background.expand_as(r.rgb))
        assert not r.alpha.any() and not r.depth.any()
    assert not rasterise(behind, centred(), background, mode, backend).info["radii"].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tilted_plane_has_its_normal_and_depth(backend):
    """A large opaque surfel: its own normal and the one of its depth image agree with its quaternion."""
    angle = 0.4
    quat = (math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0)  # about y
    grid = [(0.05 * i, 0.05 * j) for i in range(-20, 21) for j in range(-12, 13)]
    places = [(x * math.cos(angle), y, -x * math.sin(angle)) for x, y in grid]
    sheet = [one(mean=place, scale=0.05, opacity=0.95, quat=quat) for place in places]
    r = rasterise(concatenate(*sheet), centred(), BLACK, "2dgs", backend)
    assert r.normals is not None and r.depth_normals is not None
    facing = torch.tensor([-math.sin(angle), 0, -math.cos(angle)])
    assert r.alpha[0, 8, 16, 0] > 0.99
    assert torch.allclose(r.normals[0, 8, 16], facing, atol=0.01)
    assert torch.allclose(r.depth_normals[0, 4:13, 10:23].mean((0, 1)), facing, atol=0.05)


def same(a, b, fraction=0.002):
    """Equal but for the few pixels where a contribution falls on the other side of a cut."""
    wrong = (a - b).abs() > 2e-4 * max(1.0, float(b.abs().max()))
    assert wrong.float().mean() <= fraction, (wrong.float().mean(), (a - b).abs().max())
    assert torch.isfinite(a).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [(40, 33), (16, 16), (97, 7), (1, 1)])
def test_kernels_agree_with_plain(mode, degree, size):
    scene, views = cloud(300, degree, seed=degree), cameras(2, *size)
    fast, plain = (rasterise(scene, views, torch.tensor([0.3, 0.6, 0.9]), mode, b) for b in BACKENDS)
    for name in IMAGES if mode == "2dgs" else IMAGES[:3]:
        same(getattr(fast, name), getattr(plain, name))
    assert torch.equal(fast.info["radii"], plain.info["radii"])
    assert torch.allclose(fast.info["means2d"], plain.info["means2d"], atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kernels_agree_on_awkward_scenes(mode, seed):
    scene, views = awkward(seed), cameras(1, 61, 47)
    fast, plain = (rasterise(scene, views, WHITE, mode, b) for b in BACKENDS)
    for name in ("rgb", "alpha", "depth"):
        same(getattr(fast, name), getattr(plain, name), fraction=0.01)
    # Where float32 itself decides about a splat through the eye's plane, radii may differ by a rounding.
    assert ((fast.info["radii"] > 0) == (plain.info["radii"] > 0)).float().mean() > 0.98


@pytest.mark.parametrize("mode", MODES)
def test_a_camera_sees_the_same_alone_and_among_others(mode):
    scene, views = cloud(100, 1), cameras(3)
    together = rasterise(scene, views, BLACK, mode)
    for c in range(3):
        alone = rasterise(scene, Cameras(views.viewmats[c][None], views.Ks[c][None], 40, 33), BLACK, mode)
        assert torch.equal(alone.rgb[0], together.rgb[c])


def test_several_threads_may_render_at_once():
    """A viewer renders while a fit does."""
    scene, views = cloud(300, 1), cameras(1, 64, 64)
    expected = rasterise(scene, views, BLACK).rgb
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda _: rasterise(scene, views, BLACK).rgb, range(12)))
    assert all(torch.equal(image, expected) for image in images)


def test_inputs_may_be_views_of_other_tensors():
    """Strided and double inputs are taken as they are."""
    scene, views = cloud(50, 1), cameras()
    strided = type(scene)(*(torch.stack([x, x], -1)[..., 0] for x in vars(scene).values()))
    assert torch.equal(rasterise(strided, views, BLACK).rgb, rasterise(scene, views, BLACK).rgb)


@pytest.mark.parametrize("arguments", [{"mode": "4dgs"}, {"backend": "vulkan"}, {"backend": "gsplat"}])
def test_a_wrong_name_or_device_is_the_users_mistake(arguments):
    with pytest.raises(UserError):
        rasterise(one(), centred(), BLACK, **arguments)
