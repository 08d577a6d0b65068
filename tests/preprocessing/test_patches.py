"""Patches are found again where a planted motion put them."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as moved

from talkingavatar.preprocessing.patches import HALF, cut, peaks, search, structure

SIZE = 96
MIDDLE = np.array([[SIZE / 2, SIZE / 2]])


def texture(seed=0):
    random = np.random.default_rng(seed)
    return (128 + 300 * gaussian_filter(random.standard_normal((SIZE, SIZE)), 2)).astype(np.float32)


def edge(angle, offset):
    """Dark and bright, parted by a soft straight edge, `offset` pixels from the middle along its normal."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    across = np.cos(angle) * x + np.sin(angle) * y - offset
    return (200 / (1 + np.exp(-across))).astype(np.float32)


@pytest.mark.parametrize("right, down", [(0.0, 0.0), (2.3, -1.6), (-4.5, 3.25)])
def test_a_patch_is_found_to_a_fraction_of_a_pixel(right, down):
    picture = texture()
    there = moved(picture, (down, right), order=3).astype(np.float32)
    found, score = search(there, cut(picture, MIDDLE), MIDDLE, 7)
    np.testing.assert_allclose(found[0] - MIDDLE[0], (right, down), atol=0.12)
    assert score[0] > 0.95


@pytest.mark.parametrize("angle", [0.0, 0.5, np.pi / 4, 2.5])
def test_an_edge_is_found_across_it_and_stays_near_along_it(angle):
    normal, along = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    found, _ = search(edge(angle, 2.4), cut(edge(angle, 0.0), MIDDLE), MIDDLE, 8, 0.001)
    off = found[0] - MIDDLE[0]
    assert off @ normal == pytest.approx(2.4, abs=0.3)
    assert abs(off @ along) < 1.5


def test_what_left_the_reach_is_not_found():
    picture = texture()
    far = moved(picture, (0, 12), order=1).astype(np.float32)
    _, score = search(far, cut(picture, MIDDLE), MIDDLE, 4)
    assert score[0] < 0.7
    _, score = search(picture, cut(picture, MIDDLE), np.array([[2.0, 2.0]]), 4)
    assert score[0] == -1  # at the picture's corner no patch fits


def test_peaks_keep_apart_and_off_the_ends():
    xx, yy, _ = structure(texture(1))
    where = np.ones((SIZE, SIZE), bool)
    where[:, : SIZE // 2] = False
    found = peaks(xx + yy, where, 0.0, 11, 12)
    assert 3 <= len(found) <= 12
    assert (found > HALF).all() and (found < SIZE - 1 - HALF).all() and (found[:, 0] >= SIZE // 2).all()
    apart = np.abs(found[:, None] - found).max(-1)
    assert apart[~np.eye(len(found), dtype=bool)].min() > 5
    strength = (xx + yy)[found[:, 1].astype(int), found[:, 0].astype(int)]
    assert (np.diff(strength) <= 0).all()
