"""Cameras that are turned and brought near."""

import torch

from talkingavatar.geometry.cameras import close_up, project
from talkingavatar.types import Cameras


def test_a_close_up_has_the_points_in_its_middle():
    torch.manual_seed(0)
    view = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[2, 3] = 2.0
    camera = Cameras(view[None], torch.tensor([[[300.0, 0, 64], [0, 300, 60], [0, 0, 1]]]), 128, 120)
    points = torch.rand(20, 3) * torch.tensor([0.3, 0.1, 0.1])
    seen = project(points[None], close_up(camera, points, 200, 1.25))[0]
    torch.testing.assert_close((seen.amax(0) + seen.amin(0)) / 2, torch.full((2,), 100.0))
    torch.testing.assert_close((seen.amax(0) - seen.amin(0)).max(), torch.tensor(160.0))
