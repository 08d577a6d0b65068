"""CPBD on edges whose width is known."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from talkingavatar.metrics.sharpness import _extents, cpbd


def picture(row):
    """A picture of equal rows, grey."""
    return torch.from_numpy(np.asarray(row, float)).expand(128, -1)[..., None].expand(-1, -1, 3)


def ramps(width, height=0.8):
    """Rises and falls of so many pixels, 32 apart."""
    x = np.arange(192)
    up = np.clip((x % 64 - 8) / width, 0, 1)
    down = np.clip((x % 64 - 40) / width, 0, 1)
    return picture(0.1 + height * (up - down))


def test_extents_are_those_of_the_slope_a_pixel_lies_in():
    row = np.array([[3.0, 1, 2, 5, 5, 6, 2]])
    assert _extents(row).tolist() == [[0, 2, 2, 2, 1, 1, 0]]
    assert _extents(-row).tolist() == [[1, 1, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("width", "height", "sharp"), [(1, 0.8, 1), (2, 0.8, 1), (4, 0.8, 0), (4, 0.15, 1), (6, 0.15, 0)]
)
def test_an_edge_is_sharp_up_to_the_width_at_which_blur_is_seen(width, height, sharp):
    """3 pixels where contrast is high, 5 where it is low."""
    assert cpbd(ramps(width, height)) == sharp


def test_blurred_copies_score_the_less_the_more_they_are_blurred():
    rng = np.random.default_rng(0)
    sharp = (rng.uniform(size=(32, 32)) > 0.5).repeat(8, 0).repeat(8, 1).astype(float)
    scores = []
    for sigma in (0, 0.6, 0.9, 1.3, 2.0):
        blurred = gaussian_filter(sharp, sigma) if sigma else sharp
        scores.append(cpbd(torch.from_numpy(blurred)[..., None].expand(-1, -1, 3)))
    assert scores[0] == 1 and scores[-1] < 0.05 and scores == sorted(scores, reverse=True), scores


def test_without_an_edge_there_is_nothing_to_say():
    assert math.isnan(cpbd(torch.full((128, 128, 3), 0.5))) and math.isnan(cpbd(ramps(1)[:60]))
