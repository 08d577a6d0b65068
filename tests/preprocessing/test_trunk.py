"""Points of the trunk move as a planted motion of the clothes does, whatever the detector says."""

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from talkingavatar.preprocessing.keypoints import COUNT, NECK, SHOULDERS, Keypoints
from talkingavatar.preprocessing.trunk import steady_trunk

SIZE, FRAMES = 160, 24
PLACES = {NECK: (80.0, 60.0), SHOULDERS[0]: (45.0, 70.0), SHOULDERS[1]: (115.0, 70.0)}


def quietly(title, total):
    return lambda: None


def motion(frame):
    angle = 0.03 * np.sin(frame / 4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn, np.array([4 * np.sin(frame / 5), 2 * np.cos(frame / 6)])


def cloth(frame, texture):
    """The texture carried by the motion about the picture's middle; x, y."""
    turn, shift = motion(frame)
    middle = np.array([SIZE / 2, SIZE / 2])
    back = np.linalg.inv(turn)[::-1, ::-1]  # rows, columns
    offset = middle - back @ (middle + shift[::-1])
    picture = affine_transform(texture, back, offset, order=3, mode="nearest")
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def moved(point, frame):
    turn, shift = motion(frame)
    middle = np.array([SIZE / 2, SIZE / 2])
    return turn @ (np.array(point) - middle) + middle + shift


def detected(noise, rng):
    points = np.full((FRAMES, COUNT, 3), np.nan, np.float32)
    points[..., 2] = 0
    for row, place in PLACES.items():
        for frame in range(FRAMES):
            points[frame, row] = (*(moved(place, frame) + noise * rng.standard_normal(2)), 1.0)
    empty = np.full((FRAMES, 2, 3), np.nan, np.float32)
    mesh = np.full((FRAMES, 478, 3), np.nan, np.float32)
    return Keypoints(points, empty, mesh, np.ones(FRAMES, int))


def test_the_trunk_follows_the_clothes_through_a_cut():
    rng = np.random.default_rng(0)
    texture = 128 + 400 * gaussian_filter(rng.standard_normal((SIZE, SIZE)), 2.5)
    keypoints = detected(3.0, rng)
    mask = np.ones((SIZE, SIZE))
    steadied = steady_trunk(keypoints, [(0, 10), (10, FRAMES)], lambda i: cloth(i, texture), lambda i: mask, quietly)
    assert steadied.followed.all()
    for row, place in PLACES.items():
        true = np.array([moved(place, frame) for frame in range(FRAMES)])
        off = steadied.keypoints.points[:, row, :2] - true
        assert np.std(off, axis=0).max() < 0.5 < np.std(keypoints.points[:, row, :2] - true, axis=0).min()
        assert np.linalg.norm(off.mean(0)) < 2.0  # the median of what was detected


def test_plain_clothes_leave_the_detector_alone():
    keypoints = detected(1.0, np.random.default_rng(1))
    plain = np.full((SIZE, SIZE, 3), 90, np.uint8)
    steadied = steady_trunk(keypoints, [(0, FRAMES)], lambda i: plain, lambda i: np.ones((SIZE, SIZE)), quietly)
    assert not steadied.followed.any()
    np.testing.assert_array_equal(steadied.keypoints.points, keypoints.points)
