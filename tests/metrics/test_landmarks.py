import numpy as np
import pytest

from talkingavatar.errors import UserError
from talkingavatar.metrics.landmarks import PARTS, landmark_distances, lmd

RNG = np.random.default_rng(0)


def seen(frames=7, points=68):
    return np.concatenate([RNG.uniform(0, 200, (frames, points, 2)), np.ones((frames, points, 1))], -1)


def test_a_shift_of_the_whole_part_is_no_distance():
    a = seen()
    b = a.copy()
    b[..., :2] += RNG.normal(size=(7, 1, 2)) * 20
    assert lmd(a, b) == pytest.approx(0, abs=1e-9)
    expected = np.linalg.norm((b - a)[:, 0, :2], axis=-1).mean()
    assert landmark_distances(a, b, PARTS)["mouth"] == pytest.approx(expected)


def test_one_moved_point_in_closed_form():
    a = seen()
    b = a.copy()
    b[:, 50, 1] += 10
    # The mean of 20 points goes along by half a pixel: one point is 9.5 off, nineteen are 0.5 off.
    assert lmd(a, b) == pytest.approx((9.5 + 19 * 0.5) / 20)
    assert landmark_distances(a, b, PARTS)["mouth"] == pytest.approx(10 / 20)
    assert landmark_distances(a, b, PARTS)["face"] == pytest.approx(10 / 68)
    assert lmd(a, b, "nose") == 0


def test_scale_about_the_mean_in_closed_form():
    a = seen()
    mouth = a[:, 48:68, :2]
    b = a.copy()
    b[:, 48:68, :2] = 1.1 * mouth
    spread = np.linalg.norm(mouth - mouth.mean(1, keepdims=True), axis=-1).mean()
    assert lmd(a, b) == pytest.approx(0.1 * spread)


@pytest.mark.parametrize("gap", [np.array([np.nan, np.nan, 1.0]), np.array([9e4, 0.0, 0.2])])
def test_what_is_not_seen_in_either_is_left_out_of_both(gap):
    a = seen()
    b = a.copy()
    b[..., 0] += 3
    b[2, 50] = a[3, 60] = gap
    assert lmd(a, b) == pytest.approx(0, abs=1e-9)
    assert landmark_distances(a, b, PARTS)["mouth"] == pytest.approx(3)


def test_nothing_seen_is_not_zero():
    a, b = seen(), seen()
    b[:, 48:68, 2] = 0.1
    b[:, 48, 2] = 1.0
    assert np.isnan(lmd(a, b))  # a single point's distance from its own mean says nothing
    hidden = landmark_distances(a, b, {"lips": slice(49, 68), "brows": PARTS["brows"]})
    assert np.isnan(hidden["lips"]) and hidden["brows"] > 0


def test_groups_of_any_points():
    a, b = seen(points=135), seen(points=135)
    chosen = np.array([4, 7, 25])
    expected = np.linalg.norm((a - b)[:, chosen, :2], axis=-1).mean()
    assert landmark_distances(a, b, {"wrists": chosen})["wrists"] == pytest.approx(expected)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="over the same frames"):
        lmd(seen(5), seen(6))
    with pytest.raises(UserError, match="over the same frames"):
        landmark_distances(seen(5), seen(6), PARTS)
    with pytest.raises(UserError, match="one of face"):
        lmd(seen(), seen(), "lips")
