from itertools import islice

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from talkingavatar.preprocessing.decode import pictures, probe, sane_rate
from talkingavatar.preprocessing.shots import Cutting, mixture, residuals, shots_between, thumbnail
from tests.preprocessing.clips import real_clip

SIZE, TALL = 96, 56


def texture(seed: int, size: int = SIZE) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size, 3)), (3, 3, 0))
    return np.clip(127 + 60 * noise / noise.std(), 0, 255)


def scene(frames: int, places: np.ndarray) -> list[np.ndarray]:
    """A patch that stands at `places` (pixels) before a still background, with a camera's noise."""
    background, patch = texture(1)[:TALL], texture(2, 40)
    rng = np.random.default_rng(3)
    result = []
    for place in places[:frames].round().astype(int):
        picture = background.copy()
        picture[8:48, place : place + 40] = patch
        result.append((picture + rng.normal(scale=2, size=picture.shape)).clip(0, 255).astype(np.uint8))
    return result


def cuts(frames: list[np.ndarray]) -> list[int]:
    cutting = Cutting()
    for frame in frames:
        cutting.show(thumbnail(frame))
    return list(cutting.cuts())


FRAMES = 40
SWING = 28 + 20 * np.sin(np.arange(FRAMES + 12) * 0.2)
TAKE = scene(FRAMES + 12, SWING)


def lit(frame: np.ndarray, gain: float, more: float = 0.0) -> np.ndarray:
    return (gain * frame + more).clip(0, 255).astype(np.uint8)


def nothing(take):
    return take


def faster(take):
    """Steps of up to a tenth of the picture."""
    return scene(FRAMES, 28 + 27 * np.sin(np.arange(FRAMES) * 0.4))


def flashes(take):
    """One bright picture, then two that differ."""
    return [lit(f, {9: 2.0, 20: 1.5, 21: 2.2}.get(i, 1.0), 40 * (i in (9, 20, 21))) for i, f in enumerate(take)]


def doubled(take):
    """As a converted rate has it: a picture stays for two, then a step of twice the size follows."""
    calm = scene(FRAMES, 28 + 10 * np.sin(np.arange(FRAMES) * 0.2))
    return [calm[i - 1] if i % 7 == 3 else f for i, f in enumerate(calm)]


def keyframes(take):
    """Every twelfth picture's grain is new, and stays until the next."""
    grain = np.random.default_rng(5).normal(scale=9, size=(len(take), *take[0].shape))
    return [lit(f, 1.0, grain[i // 12]) for i, f in enumerate(take)]


def burst(take):
    """A still person who moves at once: up to six times as fast, and as soon still again."""
    speeds = np.full(FRAMES, 0.2)
    speeds[10:15] = speeds[24:29] = 1, 2.8, 6, 2.8, 1
    return scene(FRAMES, 4 + np.cumsum(speeds))


def staying(take):
    """Each picture stays for four frames, as a low rate has them."""
    slow = scene(FRAMES // 4, 4 + 4 * np.arange(FRAMES // 4))
    return [slow[i // 4] for i in range(FRAMES)]


def lost(take):
    """One picture is black, two are all white."""
    return [lit(f, 0.0, {15: 1, 27: 255, 28: 255}[i]) if i in (15, 27, 28) else f for i, f in enumerate(take)]


def light(take):
    """A lamp goes on within three frames."""
    return [lit(f, 1 + 0.1 * min(max(i - 20, 0), 3)) for i, f in enumerate(take)]


def fading(take):
    """From black, and to black."""
    return [lit(f, min(1.0, i / 10, (len(take) - 1 - i) / 10)) for i, f in enumerate(take)]


@pytest.mark.parametrize("made", [nothing, faster, flashes, doubled, keyframes, burst, staying, lost, light, fading])
def test_what_is_no_cut(made):
    assert cuts(made(TAKE[:FRAMES])) == []


def test_frames_that_were_taken_out_are_found_beside_a_flash_and_close_together():
    """Eight frames are missing at 14, when the patch is fast, four more ten frames later."""
    frames = TAKE[:14] + TAKE[22:32] + TAKE[36:]
    frames[6] = lit(frames[6], 1.8, 30)
    assert cuts(frames) == [14, 24]


def test_a_punch_in_is_a_cut():
    near = [np.asarray(Image.fromarray(f).resize((SIZE, TALL), box=(6, 4, SIZE - 6, TALL - 3))) for f in TAKE]
    assert cuts(TAKE[:20] + near[20:FRAMES]) == [20]


def test_a_dissolve_is_one_cut_in_its_middle():
    other = [f[:, ::-1] for f in scene(FRAMES, SWING[::-1])]
    shares = np.clip((np.arange(FRAMES) - 16) / 10, 0, 1)
    frames = [lit((1 - w) * a + w * b, 1.0) for w, a, b in zip(shares, TAKE, other, strict=False)]
    (cut,) = cuts(frames)
    assert 18 <= cut <= 24


@pytest.mark.parametrize(("colour", "length"), [(0, 8), (255, 3)])
def test_a_dip_is_one_cut_where_the_picture_is_gone(colour, length):
    shares = np.clip(np.abs(np.arange(24) - 12) / length, 0, 1)
    frames = [lit(f, w, (1 - w) * colour) for w, f in zip(shares, TAKE[:12] + TAKE[20:], strict=False)]
    (cut,) = cuts(frames)
    assert 11 <= cut <= 13


def test_a_black_stretch_is_one_cut_in_its_middle():
    assert cuts(TAKE[:8] + [np.zeros_like(TAKE[0])] * 8 + TAKE[16:24]) == [12]


def test_a_jump_that_motion_explains_is_found_by_its_change():
    """All of the picture moves on by five pixels: nothing is new, yet it is far more than the frames beside move."""
    wide, noise = texture(1, 160), np.random.default_rng(3).normal(scale=2, size=(20, TALL, 128, 3))
    places = np.arange(20) // 2 + 5 * (np.arange(20) >= 11)
    frames = [lit(wide[:TALL, place : place + 128] + n, 1.0) for place, n in zip(places, noise, strict=True)]
    assert cuts(frames) == [11]
    assert residuals(frames[10], frames[11])[:, :-1].mean() < 1.1 * residuals(frames[9], frames[10])[:, :-1].mean()


def test_a_mixture_is_told_from_light_and_motion():
    before, after = texture(1).astype(np.uint8), texture(2).astype(np.uint8)
    assert mixture(before, lit(0.5 * before + 0.5 * after, 1.0), after) > 10
    assert mixture(before, lit(before, 0.6), after) < 1
    assert mixture(before, np.roll(before, 5, axis=1), after) < 1


def test_cuts_close_together_are_all_found():
    frames = [f for seed in range(6) for f in [texture(10 + seed).astype(np.uint8)] * 5]
    assert cuts(frames) == [5, 10, 15, 20, 25]


def test_different_pictures_all_along_are_all_cuts():
    frames = [(255 * (texture(s) > 127)).astype(np.uint8) for s in range(8)]
    assert cuts(frames) == list(range(1, 8))


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_the_shortest_clips_have_no_cuts(frames):
    assert cuts(TAKE[:frames]) == []


def test_identical_pictures_are_not_new():
    picture = texture(1).astype(np.uint8)
    assert residuals(picture, picture).max() == 0.0
    assert (
        residuals(picture, np.roll(picture, 3, axis=1)).mean()
        < residuals(picture, texture(2).astype(np.uint8)).mean() / 3
    )


def test_shots_cover_all_frames():
    assert shots_between([3, 7], 10) == [(0, 3), (3, 7), (7, 10)]
    assert shots_between([], 10) == [(0, 10)]


@pytest.mark.parametrize(
    ("name", "start", "true"),
    [("head/obama_20s.mp4", 150, [179]), ("upper/gesture_20s.mp4", 242, [271]), ("sync/test_offset_0.avi", 60, [])],
)
def test_cuts_of_real_clips(name, start, true):
    """In the two seconds around them; the first cut lies in fast motion."""
    source = probe(real_clip(name))
    window = islice(pictures(source, sane_rate(source.rate), skip=start), 50)
    assert [start + t for t in cuts(list(window))] == true
