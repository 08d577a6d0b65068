import pytest
import torch

from talkingavatar.audio.audible import audible_correlation


def stretch(frames, channels=6, seed=0):
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(frames, 16, channels, generator=draw)
    heard = features[:, 6:8].mean(1) @ torch.ones(channels)
    noise = torch.randn(frames, 3, generator=draw)
    values = torch.stack([heard, -heard + 2 * noise[:, 0], noise[:, 1], 0 * noise[:, 2]], 1)
    return features, 0.01 * values + seed  # speakers differ in their means


@pytest.mark.parametrize("channels", [6, 150, 768])
def test_what_follows_sound_is_told_from_what_does_not(channels):
    r = audible_correlation([stretch(400, min(channels, 6), seed) for seed in range(3)])
    assert r[0] > 0.97 and 0.4 < r[1] < 0.9 and abs(float(r[2])) < 0.15 and r[3] == 0
    wide = audible_correlation([(torch.randn(60, 16, channels), torch.randn(60, 2))])
    assert wide.shape == (2,) and wide.abs().max() < 0.6


def test_many_columns_do_not_make_noise_look_told():
    """A guess with more columns than frames fits anything it has seen."""
    draw = torch.Generator().manual_seed(0)
    r = audible_correlation([(torch.randn(200, 16, 60, generator=draw), torch.randn(200, 20, generator=draw))])
    assert r.abs().mean() < 0.12


def test_stretches_too_short_are_left_out():
    features, values = stretch(400)
    short = (torch.randn(9, 16, 6), torch.randn(9, 4))
    assert torch.equal(audible_correlation([(features, values), short]), audible_correlation([(features, values)]))
    assert not audible_correlation([short]).any()
