from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from talkingavatar.preprocessing.decode import pictures, probe, sane_rate
from talkingavatar.preprocessing.shots import find_cuts, novelty, shots_between, thumbnail
from tests.preprocessing.clips import real_clip

SIZE = 96


def texture(seed: int, size: int = SIZE) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size, 3)), (3, 3, 0))
    return np.clip(127 + 60 * noise / noise.std(), 0, 255)


def scene(frames: int, places: np.ndarray) -> list[np.ndarray]:
    """A patch that stands at `places` (pixels) before a still background, with a camera's noise."""
    background, patch = texture(1), texture(2, 40)
    rng = np.random.default_rng(3)
    result = []
    for place in places[:frames].round().astype(int):
        picture = background.copy()
        picture[30:70, place : place + 40] = patch
        result.append((picture + rng.normal(scale=2, size=picture.shape)).clip(0, 255).astype(np.uint8))
    return result


def novelties(frames: list[np.ndarray]) -> np.ndarray:
    small = [thumbnail(f) for f in frames]
    return np.array([0.0] + [novelty(a, b) for a, b in pairwise(small)])


def test_motion_is_no_cut():
    """A patch that crosses a twentieth of the picture from frame to frame."""
    swing = 28 + 27 * np.sin(np.arange(60) * 0.2)
    assert find_cuts(novelties(scene(60, swing))) == []


def test_a_jump_cut_in_one_scene_is_found():
    swing = 28 + 10 * np.sin(np.arange(60) * 0.2)
    frames = scene(60, swing)
    other = [f[:, ::-1].copy() for f in frames]
    assert find_cuts(novelties(frames[:31] + other[31:])) == [31]


def test_cuts_close_together_are_all_found():
    frames = [f for seed in range(6) for f in [texture(10 + seed).astype(np.uint8)] * 5]
    assert find_cuts(novelties(frames)) == [5, 10, 15, 20, 25]


def test_different_pictures_all_along_are_all_cuts():
    frames = [(255 * (texture(s) > 127)).astype(np.uint8) for s in range(8)]
    assert find_cuts(novelties(frames)) == list(range(1, 8))


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_the_shortest_clips_have_no_cuts(frames):
    assert find_cuts(np.zeros(frames)) == []


def test_identical_pictures_are_not_new():
    picture = texture(1).astype(np.uint8)
    assert novelty(picture, picture) == 0.0
    assert novelty(picture, np.roll(picture, 3, axis=1)) < novelty(picture, texture(2).astype(np.uint8)) / 3


def test_shots_cover_all_frames():
    assert shots_between([3, 7], 10) == [(0, 3), (3, 7), (7, 10)]
    assert shots_between([], 10) == [(0, 10)]


@pytest.mark.parametrize(
    ("name", "cuts"),
    [("head/obama_20s.mp4", [179]), ("upper/gesture_20s.mp4", [271]), ("sync/test_offset_0.avi", [])],
)
def test_cuts_of_real_clips(name, cuts):
    source = probe(real_clip(name))
    assert find_cuts(novelties(list(map(thumbnail, pictures(source, sane_rate(source.rate)))))) == cuts
