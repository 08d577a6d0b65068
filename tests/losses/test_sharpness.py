import pytest
import torch
from torch.nn.functional import avg_pool2d

from talkingavatar.losses import edge_difference, sharpened


def picture(seed=0):
    noise = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, 32, mode="bilinear").permute(0, 2, 3, 1)


def test_blur_counts_and_brightness_does_not():
    sharp = picture()
    blurred = avg_pool2d(sharp.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)
    assert edge_difference(sharp, sharp).item() == 0
    assert edge_difference(sharp + 0.1, sharp).item() < 1e-6 < 1e-2 < edge_difference(blurred, sharp).item()


def test_a_step_counts_once_an_octave():
    """One column that jumps by 1 in a picture of w columns: 1 / (w - 1) across at each scale."""
    step = torch.zeros(1, 32, 32, 1)
    step[:, :, 16:] = 1
    expected = sum(1 / (32 / 2**scale - 1) for scale in range(3)) / 3
    assert edge_difference(step, torch.zeros_like(step)).item() == pytest.approx(expected, rel=1e-5)


def test_sharpening_widens_contrast_and_leaves_plain_and_full_contrast_alone():
    sharp, made = picture(), sharpened(picture())
    assert made.min() >= 0 and made.max() <= 1
    assert made.diff(dim=2).abs().mean() > 1.1 * sharp.diff(dim=2).abs().mean()
    plain = torch.full((1, 8, 8, 3), 0.4)
    torch.testing.assert_close(sharpened(plain), plain)
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2).float()[None, ..., None].expand(1, 8, 8, 3)
    torch.testing.assert_close(sharpened(board), board)  # there is no room left
