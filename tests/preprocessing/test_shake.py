"""A camera that shakes is followed: planted shifts are found, the plate moves to where it looks, mattes stay clean."""

import numpy as np
import pytest
from scipy import ndimage

from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.preprocessing.matte import Footage, background, near_arms, plates, refine
from talkingavatar.preprocessing.matte_kernels import masked_median
from talkingavatar.preprocessing.plate import enlarged, reduced
from talkingavatar.preprocessing.shake import scene, shifted

SIZE, FRAMES = 160, 9
NOISE = np.random.default_rng(0).normal(size=(SIZE + 40, SIZE + 40, 3))
WIDE = ndimage.gaussian_filter(NOISE, (2, 2, 0))
WIDE = (128 + 40 * WIDE / WIDE.std()).clip(0, 255)
MOVES = np.array([[0, 0], [3, 1], [-2, 2], [1.5, -2.5], [0, 0], [-3.5, 0], [2, 2], [1, -1], [-1, 3]])


def scenery(index):
    down, right = 20 - MOVES[index][1], 20 - MOVES[index][0]
    moved = ndimage.shift(WIDE, (-down, -right, 0), order=3)
    return moved[:SIZE, :SIZE].clip(0, 255).round().astype(np.uint8)


def person(index):
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.hypot(x - 80 - 12 * np.sin(index), y - 100) < 35


def shaken(index):
    return np.where(person(index)[..., None], np.uint8(20), scenery(index))


def unseen(frames):
    points = np.zeros((frames, 135, 3), np.float32)
    return Keypoints(points, points[:, :2], np.full((frames, 478, 3), np.nan, np.float32), np.ones(frames, int))


def footage():
    def coarse(index):
        return 255 * person(index).astype(np.uint8)

    return Footage(shaken, coarse, unseen(FRAMES), [(0, FRAMES)], SIZE, SIZE)


def test_a_planted_shift_is_found():
    place = scene(scenery(0), ~ndimage.binary_dilation(person(0), iterations=8))
    for index in range(1, FRAMES):
        np.testing.assert_allclose(place.shift(shaken(index)), MOVES[index], atol=0.2)
    assert place.shift(scenery(0)[::-1].copy()) is None  # another scene


def test_a_shift_brings_pictures_and_truth_values_back():
    still = shifted(scenery(1), -MOVES[1])
    inside = shifted(np.ones((SIZE, SIZE), bool), -MOVES[1])
    assert inside.mean() == pytest.approx((1 - 3 / SIZE) * (1 - 1 / SIZE))
    np.testing.assert_allclose(still[inside].astype(int), scenery(0)[inside], atol=2)


def test_the_plate_of_a_shaking_camera_is_sharp_and_moves_with_it():
    whole = footage()
    made = plates(whole)
    (plate,) = made
    assert plate is not None and plate.scene is not None and background(made) is None
    for index in (1, 5):
        behind = plate.behind(shaken(index))
        assert behind is not None and behind.seen.mean() > 0.6
        assert np.abs(behind.image.astype(int) - scenery(index))[behind.seen].mean() < 5
    assert plate.behind(np.zeros((SIZE, SIZE, 3), np.uint8)) is None  # nothing to tell the place from
    matte, _ = next(refine(whole, made, 5, 6))
    assert ((matte > 127) ^ person(5)).mean() < 0.005


def test_arms_that_were_seen_are_as_thick_as_sleeves():
    whole = footage()
    points = whole.keypoints.points[0]
    points[2], points[3], points[4] = (20, 20, 0.9), (20, 60, 0.9), (60, 60, 0.5)
    arms = near_arms(whole, 0)
    assert arms[40, 20] and arms[40, 28] and arms[67, 20]  # upper arm, its width, the elbow
    assert not arms[40, 34] and not arms[60, 50]  # beyond; a forearm that was hardly seen


def test_what_looks_the_same_where_the_mask_says_person_is_doubted():
    """Clear in four of nine frames; in the others taken for the person, alike or not."""
    stack = np.full((9, 1, 3, 3), 100, np.uint8)
    clear = np.zeros((9, 1, 3), bool)
    clear[:4] = True
    taken = ~clear
    stack[4:, 0, 1] = 200  # a person of another colour
    taken[6:, 0, 2] = False  # taken in two frames only
    median, spread, seen, doubted = masked_median(stack, clear, taken, 4)
    assert (median == 100).all() and (spread == 0).all() and seen.all()
    assert doubted[0].tolist() == [True, False, False]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_blocks_are_means_and_grow_back(step):
    values = np.random.default_rng(1).random((7, 11)).astype(np.float32)
    small = reduced(values, step)
    assert small.shape == (-(-7 // step), -(-11 // step))
    np.testing.assert_allclose(small[0, 0], values[:step, :step].mean(), atol=1e-6)
    np.testing.assert_allclose(small[-1, -1], values[(6 // step) * step :, (10 // step) * step :].mean(), atol=1e-6)
    assert enlarged(small, step, values.shape).shape == values.shape
    np.testing.assert_allclose(enlarged(np.full_like(small, 0.3), step, values.shape), 0.3, atol=1e-6)
