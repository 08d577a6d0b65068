"""What lies inside is drawn behind what is before it."""

from dataclasses import replace

import pytest
import torch

from talkingavatar.geometry.cameras import eyes
from talkingavatar.methods.behind import set_behind
from talkingavatar.splatting import rasterise
from talkingavatar.types import Cameras, Gaussians

BLACK = torch.zeros(3)


@pytest.fixture
def camera():
    viewmat = torch.eye(4)
    viewmat[:3, 3] = torch.tensor([0.2, -0.1, 0.5])
    return Cameras(viewmat[None], torch.tensor([[[60.0, 0, 24], [0, 60, 20], [0, 0, 1]]]), 48, 40)


@pytest.fixture
def gaussians():
    """A red one a centimetre before a blue one, neither in the middle of the picture."""
    means = torch.tensor([[-0.3, 0.15, 0.5], [-0.3, 0.15, 0.51]])
    quats = torch.tensor([[1.0, 0.2, 0.1, 0], [1, 0.1, 0.2, 0.3]])
    sh = torch.tensor([[[1.5, -1.7, -1.7]], [[-1.7, -1.7, 1.5]]])
    return Gaussians(means, quats, torch.full((2, 3), 0.06), torch.full((2,), 0.999), sh)


@pytest.mark.parametrize("mode", ["2dgs", "3dgs"])
def test_it_is_where_it_was_and_behind(camera, gaussians, mode):
    def drawn(shown):
        return rasterise(shown, camera, BLACK, mode, "cpu").rgb[0]

    moved = set_behind(gaussians, torch.tensor([0]), eyes(camera.viewmats), 0.02)
    alone = [replace(one, opacities=one.opacities * torch.tensor([1.0, 0.0])) for one in (gaussians, moved)]
    assert torch.allclose(*map(drawn, alone), atol=1e-4) and drawn(alone[0])[..., 0].max() > 0.5
    red, _, blue = drawn(gaussians).flatten(0, 1).amax(0)
    assert red > 2 * blue
    red, _, blue = drawn(moved).flatten(0, 1).amax(0)
    assert blue > 2 * red


def test_the_others_stay_and_gradients_come_through(camera, gaussians):
    means, scales = (getattr(gaussians, name).clone().requires_grad_() for name in ("means", "scales"))
    eye = eyes(camera.viewmats)
    moved = set_behind(replace(gaussians, means=means, scales=scales), torch.tensor([0]), eye, 0.02)
    assert torch.equal(moved.means[1], means[1]) and torch.equal(moved.scales[1], scales[1])
    far = [(at[0] - eye[0]).norm() for at in (means, moved.means)]
    assert torch.isclose(far[1] - far[0], torch.tensor(0.02), atol=1e-6)
    (moved.means.sum() + moved.scales.sum()).backward()
    assert (means.grad == 1).all() and (scales.grad == 1).all()
