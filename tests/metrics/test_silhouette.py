import pytest
import torch

from talkingavatar.metrics.silhouette import silhouettes


def test_holes_and_spikes_are_shares_of_the_silhouette():
    matte = torch.zeros(40, 40)
    matte[10:30, 10:30] = 1  # 400 pixels
    whole = matte.clone()
    assert silhouettes(whole, matte) == (0, 0, 1)
    torn = whole.clone()
    torn[18:22, 18:23] = 0  # 20 inside
    torn[0:2, 0:4] = 1  # 8 outside
    assert silhouettes(torn, matte) == pytest.approx((20 / 400, 8 / 400, 380 / 408))
    assert silhouettes(torn, matte, (slice(10, 20), slice(10, 30))) == pytest.approx((10 / 200, 0, 190 / 200))
    shifted = torch.roll(whole, 2, 1)  # an outline that is two pixels off
    assert silhouettes(shifted, matte) == pytest.approx((0, 0, 360 / 440))
