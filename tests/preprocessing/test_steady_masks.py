"""A mask that leaves its neighbours for some frames is mended; what really moves is left alone."""

import numpy as np

from talkingavatar.preprocessing.landmarks.steady_masks import SteadyMasks

SIZE, FRAMES = 120, 60
SHOTS = [(0, 30), (30, FRAMES)]
Y, X = np.mgrid[:SIZE, :SIZE]


def person(index):
    """A disc that sways."""
    return np.where((X - 60 - 6 * np.sin(index / 8)) ** 2 + (Y - 70) ** 2 < 30**2, 255, 0).astype(np.uint8)


def clip():
    masks = np.stack([person(i) for i in range(FRAMES)])
    points = np.full((FRAMES, 135, 3), np.nan, np.float32)
    points[..., 2] = 0
    return masks, points


def steady(masks, points):
    return SteadyMasks(masks, points, (0.5, 0.5), SHOTS)


def differs(mask, index):
    return int(((mask > 127) != (person(index) > 127)).sum())


def test_right_masks_stay():
    masks, points = clip()
    made = steady(masks, points)
    assert not made.wrong.any()
    assert all(np.array_equal(made[i], masks[i]) for i in range(FRAMES))


def test_a_wall_taken_for_the_person_is_taken_off():
    masks, points = clip()
    for i in (12, 13, 17):
        masks[i, :60, 100:] = 255
    made = steady(masks, points)
    assert np.flatnonzero(made.wrong).tolist() == [12, 13, 17]
    assert all(differs(made[i], i) <= 20 < 500 < differs(masks[i], i) for i in (12, 13, 17))


def test_a_lost_half_comes_back():
    masks, points = clip()
    masks[40:43, :, :60] = 0
    made = steady(masks, points)
    for i in range(40, 43):
        assert differs(made[i], i) < 0.4 * differs(masks[i], i)


def test_a_hand_thrown_out_stays():
    """Its mask is as far from the neighbours' person as the wall's, but a hand was seen there."""
    masks, points = clip()
    masks[20, 20:40, 95:115] = 255
    along = np.linspace(0, 1, 21)
    points[20, 25:46] = np.stack(
        [2 * (97 + 15 * along), 2 * (22 + 15 * along), np.ones(21)], 1
    )  # of a picture twice as large
    made = steady(masks, points)
    assert made.wrong[20]
    assert (made[20][20:40, 95:115] == 255).mean() > 0.9


def test_a_shot_that_is_wrong_throughout_is_left():
    masks, points = clip()
    masks[:30, :40] = 255
    assert not steady(masks, points).wrong[:30].any()
