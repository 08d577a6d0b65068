"""Exposure scales what is seen of the Gaussians, and its mean over the frames is 1."""

import torch

from talkingavatar.geometry.spherical_harmonics import sh_to_rgb
from talkingavatar.networks.exposure import Exposure
from talkingavatar.types import Gaussians


def test_colours_are_multiplied_whatever_the_degree():
    torch.manual_seed(0)
    exposure = Exposure(4)
    torch.nn.init.normal_(exposure.log_gain, std=0.1)
    directions = torch.randn(10, 3)
    for bands in (1, 4):
        sh = torch.randn(10, bands, 3) * 0.1
        gaussians = Gaussians(torch.randn(10, 3), torch.randn(10, 4), torch.rand(10, 3), torch.rand(10), sh)
        seen = exposure(gaussians, 2)
        torch.testing.assert_close(sh_to_rgb(seen.sh, directions), sh_to_rgb(sh, directions) * exposure.gain(2))
        assert seen.means is gaussians.means


def test_a_drift_common_to_all_frames_is_not_its_business():
    exposure = Exposure(3)
    with torch.no_grad():
        exposure.log_gain += 0.3
    torch.testing.assert_close(exposure.gain(1), torch.ones(3))
