"""What an edit does and what it leaves alone, in closed form."""

import numpy as np
import pytest

from talkingavatar.metrics.edits import edge_roughness, in_order, leak, moves_along, rank_correlation

RNG = np.random.default_rng(1)
ASKED = np.arange(17) == 8
SPARED = np.arange(17) > 8


def test_strengths_in_order():
    assert in_order(np.array([0.0, 1, 2, 3])) and not in_order(np.array([0.0, 1, 1, 3]))
    assert rank_correlation(np.array([0.1, 0.2, 3, 9])) == pytest.approx(1)
    assert rank_correlation(np.array([3.0, 2, 1, 0])) == pytest.approx(-1)
    assert rank_correlation(np.array([0.0, 2, 1, 3])) == pytest.approx(0.8)
    assert rank_correlation(np.zeros(4)) == 0


@pytest.fixture
def truth():
    """Unit 9 moves half as far as unit 8, unit 10 against it; the others on their own."""
    units = RNG.normal(size=(4000, 17))
    units[:, 9], units[:, 10] = 0.5 * units[:, 8], -units[:, 8]
    return units


def test_what_moves_along_is_told_from_true_faces(truth):
    along = moves_along(truth, ASKED)
    expected = np.zeros(17)
    expected[8], expected[9], expected[10] = 1, 0.5, -1
    assert along.shape == (17, 1) and np.abs(along[:, 0] - expected).max() < 0.06


@pytest.mark.parametrize(
    ("nine", "ten", "eleven", "all_of_it", "beyond"),
    [
        (0, 0, 0, 0, 0),
        (1, -2, 0, 3, 0),  # as the true face does
        (0.5, -1, 0, 1.5, 0),  # or on the way to it
        (2, 0, 0, 2, 1),  # too far
        (-1, 0, 0, 1, 1),  # the other way
        (0, 0, 3, 3, 3),  # what has nothing to do with it
    ],
)
def test_a_leak_is_counted_beyond_what_truth_moves_together(nine, ten, eleven, all_of_it, beyond):
    along = np.zeros((17, 1))
    along[8], along[9], along[10] = 1, 0.5, -1
    change = np.zeros(17)
    change[8:12] = 2, nine, ten, eleven
    assert leak(change, ASKED, SPARED, along) == pytest.approx((all_of_it / 8, beyond / 8))


def test_an_edit_is_as_rough_as_its_edges():
    speech = np.zeros((60, 17))
    speech[::2, 0] = 1  # second differences of 2
    abrupt, gentle, elsewhere = speech.copy(), speech.copy(), speech.copy()
    abrupt[20:40, 8] = 4
    gentle[:, 8] += np.interp(np.arange(60), [10, 30, 60], [0, 4, 4])
    elsewhere[30, 8] = 4
    assert edge_roughness(speech, abrupt, (20, 40), 3) == pytest.approx(2)
    assert edge_roughness(speech, gentle, (10, 30), 3) == pytest.approx(0.1)
    assert edge_roughness(speech, elsewhere, (10, 50), 3) == 0
