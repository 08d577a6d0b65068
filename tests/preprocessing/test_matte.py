"""Mattes of composites whose coverage is known, and mattes read from disk."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import LEFT_HAND, Keypoints
from talkingavatar.preprocessing.matte import Footage, background, band, plates, refine
from talkingavatar.preprocessing.matte_kernels import deeper, local_mean
from talkingavatar.preprocessing.person import one_person
from talkingavatar.preprocessing.plate import Plate, combined, continued, grown
from talkingavatar.preprocessing.ready_mattes import ReadyMattes

SIZE, FRAMES = 160, 12
GENERATOR = np.random.default_rng(0)
SCENE = np.stack([ndimage.gaussian_filter(GENERATOR.normal(size=(SIZE, SIZE)), 6) for _ in range(3)], axis=-1)
SCENE = 0.55 + 0.12 * SCENE / SCENE.std()
SUBJECT = np.array([0.15, 0.1, 0.12])


def unseen(frames):
    points = np.full((frames, 135, 3), np.nan, np.float32)
    points[..., 2] = 0
    return Keypoints(points, points[:, :2], np.full((frames, 478, 3), np.nan, np.float32), np.ones(frames, int))


def coverage(index):
    """A head with strands of hair, moving to and fro by 20 pixels."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    x = x - 80 - 20 * np.sin(2 * np.pi * index / FRAMES)
    head = np.clip(45 - np.hypot(x, y - 90), 0, 1)
    angle = np.arctan2(y - 90, x)
    hair = (np.cos(24 * angle) > 0.7) * np.clip(51 - np.hypot(x, y - 90), 0, 1) * (y < 80)
    return ndimage.gaussian_filter(np.maximum(head, hair), 0.7)


def picture(index, scene=SCENE):
    alpha = coverage(index)[..., None]
    noise = np.random.default_rng(index).normal(scale=0.008, size=(SIZE, SIZE, 3))
    return ((alpha * SUBJECT + (1 - alpha) * scene + noise).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def coarse(index):
    """What a small net would say: blurred, quantised, a bit off."""
    blurred = ndimage.shift(ndimage.gaussian_filter(coverage(index), 4), (0.7, -0.7))
    return (np.clip(2 * blurred - 0.5, 0, 1) * 255).astype(np.uint8)


def footage(frame=picture, shots=((0, FRAMES),)):
    return Footage(frame, coarse, unseen(FRAMES), list(shots), SIZE, SIZE)


@pytest.fixture(scope="module")
def results():
    whole = footage()
    made = plates(whole)
    return made, list(refine(whole, made))


def error(estimate, index):
    """Mean absolute error of coverage in the band where it is in question."""
    true = coverage(index)
    near = ndimage.binary_dilation((true > 0.01) & (true < 0.99), iterations=4)
    return np.abs(estimate / 255.0 - true)[near].mean()


def test_coverage_is_near_the_true_one(results):
    errors = [error(matte, index) for index, (matte, _) in enumerate(results[1])]
    before = [error(coarse(index), index) for index in range(FRAMES)]
    assert max(errors) < 0.04 and np.mean(errors) < 0.35 * np.mean(before)


def test_the_composite_has_no_rim_of_the_old_background(results):
    for index, (_, composited) in enumerate(results[1]):
        alpha = coverage(index)[..., None]
        true = alpha * SUBJECT + (1 - alpha)
        assert np.abs(composited / 255.0 - true).mean() < 0.012
        # Strands survive: thin, dark, well outside the head.
        thin = (coverage(index) > 0.8) & (ndimage.grey_opening(coverage(index), 9) < 0.2)
        assert composited[thin].mean() < 110 < 160 < picture(index, np.ones(3)).mean()


def test_the_plate_is_the_scene_where_it_was_seen(results):
    (plate,) = results[0]
    clear = np.min([coverage(index) for index in range(FRAMES)], axis=0) < 0.01
    assert plate.seen.mean() > 0.5 and (plate.seen & ~clear).mean() < 0.005
    assert np.abs(plate.image / 255.0 - SCENE)[plate.seen].mean() < 0.01
    assert np.abs(plate.image / 255.0 - SCENE)[~plate.seen].mean() < 0.2


def test_a_range_of_frames_gives_what_the_whole_gives(results):
    part = list(refine(footage(), results[0], 5, 8))
    for index, (matte, composited) in enumerate(part, 5):
        np.testing.assert_array_equal(matte, results[1][index][0])
        np.testing.assert_array_equal(composited, results[1][index][1])


def test_without_a_plate_it_still_beats_the_coarse_mask():
    matte, _ = next(refine(footage(), [None], 3, 4))
    assert error(matte, 3) < 0.6 * error(coarse(3), 3)


def test_a_moving_camera_gives_no_plate():
    moving = footage(lambda index: picture(index, np.roll(SCENE, 11 * index, axis=1)))
    assert plates(moving) == [None] and background([None]) is None


def test_shots_of_different_scenes_have_plates_of_their_own():
    two = footage(lambda i: picture(i, SCENE if i < 6 else SCENE[::-1]), ((0, 6), (6, FRAMES)))
    made = plates(two)
    assert all(plate is not None for plate in made) and background(made) is None


def test_plates_of_one_scene_complete_each_other():
    image = (SCENE * 255).astype(np.uint8)
    left, right = np.zeros((2, SIZE, SIZE), bool)
    left[:, :100], right[:, 60:] = True, True
    noise = np.zeros((SIZE, SIZE), np.float32)
    both = combined([Plate(continued(image, part), part, noise) for part in (left, right)])
    assert both.seen.all()
    np.testing.assert_array_equal(both.image, image)


@pytest.mark.parametrize("shape", [(7, 5), (64, 48), (1, 9)])
def test_unseen_pixels_continue_a_flat_scene(shape):
    seen = np.zeros(shape, bool)
    seen.ravel()[::11] = True
    image = np.full((*shape, 3), 90, np.uint8) * seen[..., None]
    assert (continued(image, seen) == 90).all()


def test_seen_fingers_are_sure_and_their_surroundings_in_doubt():
    points = unseen(1).points[0]
    nothing = np.zeros((SIZE, SIZE), np.float32)
    assert (band(nothing, points, 0.25) == 0).all()
    points[LEFT_HAND, 0], points[LEFT_HAND, 1] = np.linspace(50, 110, 21), 80
    points[LEFT_HAND, 2] = 0.9
    labels = band(nothing, points, 0.25)
    assert labels[80, 80] == 2 and labels[86, 80] == 1 and labels[110, 80] == 0
    points[LEFT_HAND, 2] = 0.3  # hardly seen: doubt only
    assert set(np.unique(band(nothing, points, 0.25))) == {0, 1}


CHECKS = np.where((np.indices((SIZE, SIZE)) // 10).sum(0)[..., None] % 2, [0.8, 0.75, 0.7], [0.25, 0.1, 0.1])


def mistaken(index):
    """A mask that takes checks beside the person for a part of it, and one apart, in the second half."""
    found = coarse(index)
    if index < FRAMES // 2:
        return found
    found[8:42, 50:80] = 255
    found[10:16, 10:16] = 255
    return found


def test_nothing_of_a_busy_background_stays():
    """What the mask takes for the person in some frames is known as background from the others."""
    whole = Footage(lambda i: picture(i, CHECKS), mistaken, unseen(FRAMES), [(0, FRAMES)], SIZE, SIZE)
    for index, (matte, _) in zip((8, 9), refine(whole, plates(whole), 8, 10), strict=True):
        true, taken = coverage(index) > 0.5, mistaken(index) > 127
        beyond = ~ndimage.binary_dilation(true, iterations=3)
        assert (taken & beyond).sum() > 300 and ((matte > 127) & beyond).sum() < 45
        assert (matte > 127)[ndimage.binary_erosion(true, iterations=3)].mean() > 0.99


def test_parts_of_a_mask_that_are_no_part_of_the_person_go():
    mask, hands = np.zeros((2, SIZE, SIZE), bool)
    mask[40:140, 40:120], mask[20:25, 20:25], mask[5:10, 150:155] = True, True, True
    hands[0:15, 140:160] = True
    kept = one_person(mask, hands)
    assert kept[90, 80] and kept[7, 152] and not kept[22, 22]


def write_pictures(folder, values, size=(8, 6), mode="L"):
    for index, value in enumerate(values):
        Image.new(mode, size, value).save(folder / f"m{index}.png")


def read(path, frames, size=(8, 6), source=(16, 12), **more):
    return list(ReadyMattes(path, frames, size, source, **more))


def test_pictures_are_read_in_the_order_of_their_numbers(tmp_path):
    write_pictures(tmp_path, range(0, 240, 20))
    assert [int(matte[0, 0]) for matte in read(tmp_path, 12)] == list(range(0, 240, 20))


@pytest.mark.parametrize(
    ("mode", "colour"), [("L", 200), ("RGB", (200, 0, 10)), ("RGBA", (1, 2, 3, 200)), ("LA", (7, 200))]
)
def test_the_channel_that_holds_the_coverage(tmp_path, mode, colour):
    write_pictures(tmp_path, [colour], mode=mode)
    assert (read(tmp_path, 1)[0] == 200).all()


def test_a_threshold_makes_it_all_or_nothing(tmp_path):
    write_pictures(tmp_path, [99, 100])
    assert [int(m.max()) for m in read(tmp_path, 2, threshold=100)] == [0, 255]


def test_the_sources_size_is_scaled(tmp_path):
    write_pictures(tmp_path, [128], size=(16, 12))
    (matte,) = read(tmp_path, 1)
    assert matte.shape == (6, 8) and (matte == 128).all()


def test_a_video_of_mattes(tmp_path):
    with VideoWriter(tmp_path / "m.mp4", 25) as video:
        for value in (10, 250):
            video.write(np.full((64, 64, 3), value, np.uint8))
    first, second = read(tmp_path / "m.mp4", 2, (64, 64), (64, 64))
    assert first.mean() < 14 and second.mean() > 246
    with pytest.raises(UserError, match="2 frames"):
        read(tmp_path / "m.mp4", 3, (64, 64), (64, 64))
    with pytest.raises(UserError, match="more than 1"):
        read(tmp_path / "m.mp4", 1, (64, 64), (64, 64))


def test_wrong_counts_sizes_and_files_are_one_clear_line(tmp_path):
    write_pictures(tmp_path, [1, 2])
    with pytest.raises(UserError, match=r"2 pictures.*3, one per frame"):
        read(tmp_path, 3)
    with pytest.raises(UserError, match=r"8x6 pixels.*10x10 or 20x20"):
        read(tmp_path, 2, (10, 10), (20, 20))
    (tmp_path / "m1.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(UserError, match=r"m1\.png"):
        read(tmp_path, 2)
    with pytest.raises(UserError, match="no such folder"):
        read(tmp_path / "absent", 2)
    with pytest.raises(UserError, match="video"):
        read(tmp_path / "m1.png", 1)


def test_depth_is_that_of_the_distance_transform():
    for number, share in enumerate((0.0, 0.2, -0.5, 9.0, -9.0)):
        noise = ndimage.gaussian_filter(GENERATOR.normal(size=(41 + number, 30)), 2)
        region = noise > share * noise.std()  # parts of it, none, all
        exact = ndimage.distance_transform_edt(region) if not region.all() else np.full(region.shape, np.inf)
        for distance in (0.0, 0.7, 1.0, 2.1, 3.0, 5.0, 9.6):
            assert np.array_equal(deeper(region, distance), exact > distance)
            assert np.array_equal(grown(~region, distance), exact <= distance)


@pytest.mark.parametrize("size", [3, 5])
def test_a_local_mean_is_that_of_uniform_filters(size):
    image = GENERATOR.random((40, 31, 3)).astype(np.float32)
    of = ndimage.gaussian_filter(GENERATOR.normal(size=(40, 31)), 3) > 0
    weight = ndimage.uniform_filter(of.astype(np.float32), size)
    total = ndimage.uniform_filter(image * of[..., None], (size, size, 1))
    assert np.array_equal(local_mean(image, of, size), total / np.maximum(weight, 1e-6)[..., None])
