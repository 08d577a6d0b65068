"""Views that no camera had: where they stand, and what shows through."""

import torch

from talkingavatar.geometry.cameras import eyes
from talkingavatar.methods.aside import EVERY, FARTHEST, NEAREST, aside, openness
from talkingavatar.types import Cameras


def front():
    view = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    view[2, 3] = 3.0
    K = torch.tensor([[60.0, 0, 32], [0, 60, 32], [0, 0, 1]])
    return Cameras(view[None], K[None], 64, 64)


def test_the_camera_goes_round_the_person_to_both_sides():
    centre, angles = torch.tensor([0.0, 0.0, 0.5]), []
    for step in range(0, 40 * EVERY, EVERY):
        camera = aside(front(), centre, step)
        away = eyes(camera.viewmats)[0] - centre
        assert torch.isclose(away.norm(), torch.tensor(2.5), atol=1e-5) and abs(away[1]) < 1e-6
        angles.append(torch.rad2deg(torch.atan2(away[0], away[2])))
    angles = torch.stack(angles)
    assert angles.abs().min() >= NEAREST - 1e-3 and angles.abs().max() <= FARTHEST + 1e-3
    assert 10 <= (angles > 0).sum() <= 30 and angles.abs().std() > 10
    assert (camera.width, camera.height) == (32, 32) and torch.isclose(camera.Ks[0, 0, 0], torch.tensor(30.0))


def test_what_shows_through_is_what_is_not_covered_at_points_in_the_picture():
    alpha = torch.ones(1, 64, 64, 1)
    alpha[:, :, :32] = 0.25  # left half of the picture: where x is below 0
    alpha.requires_grad_()
    points = torch.tensor([[[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [9.0, 0.0, 0.0]]])
    found = openness(alpha, points, front())
    assert torch.allclose(found, torch.tensor([0.75, 0.0, 0.0]))
    (gradient,) = torch.autograd.grad(found.sum(), alpha)
    assert gradient.max() <= 0 and torch.isclose(gradient.sum(), torch.tensor(-2.0))  # of the two in the picture
