import numpy as np
import pytest

from talkingavatar.metrics.paired import block_means, correlation_time, over_blocks, over_runs

FPS = 25.0


def wandering(rng, seconds, hold=0.9):
    """Differences of zero mean, each `hold` of the one before: about as faces that turn and talk."""
    noise = rng.normal(size=round(seconds * FPS) + 100)
    for i in range(1, len(noise)):
        noise[i] += hold * noise[i - 1]
    return noise[100:]


def test_neighbouring_frames_are_no_second_witness():
    """Of videos without any difference few are told from each other by blocks; by frames as they are, nearly half."""
    rng = np.random.default_rng(0)
    videos = [wandering(rng, 24) for _ in range(150)]
    blocks = [over_blocks(block_means(video, range(len(video)), FPS)) for video in videos]
    assert sum(found.certain for found in blocks) < 0.12 * len(videos)
    assert sum(over_runs(video).certain for video in videos) > 0.4 * len(videos)


def test_a_difference_that_is_there_is_found_in_its_direction():
    rng = np.random.default_rng(1)
    found = over_blocks(block_means(2.0 - 0.3 * wandering(rng, 20), range(500), FPS))
    assert found.certain and 6 <= found.count <= 20 and 1.5 < found.mean < 2.5 and found.effect > 1
    assert over_blocks(-np.arange(1.0, 8)).mean < 0


def test_blocks_are_of_a_second_or_more_and_reach_over_no_gap():
    frames = [*range(50), *range(80, 105)]
    quick = np.array(frames) % 2 * 1.0  # hangs together with nothing
    assert block_means(quick, frames, FPS) == pytest.approx([12 / 25, 13 / 25, 12 / 25])
    known = quick.copy()
    known[:25] = np.nan
    known[26:50] = np.nan
    assert block_means(known, frames, FPS) == pytest.approx([1, 12 / 25]), "a block without a value is none"
    assert [len(block_means(np.ones(n), range(n), FPS)) for n in (0, 3, 30, 40)] == [0, 1, 1, 2]
    slow = np.sin(np.arange(250) / 25)  # a wave of six seconds
    assert len(block_means(slow, range(250), FPS)) < 5 < len(block_means(quick[:50].repeat(5), range(250), FPS))


def test_the_correlation_time_is_that_of_what_wanders():
    """(1 + h) / (1 - h) frames, of a long video."""
    rng = np.random.default_rng(2)
    for hold in (0.5, 0.8):
        found = correlation_time(wandering(rng, 400, hold))
        assert found == pytest.approx((1 + hold) / (1 - hold), rel=0.25)
    assert correlation_time(np.ones(9)) == 1


def test_pairs_of_runs_are_students_t():
    found = over_runs(np.array([1.0, 2.0, 3.0]))
    assert (found.mean, found.effect, found.count) == (2.0, 2.0, 3)
    assert found.p == pytest.approx(0.0742, abs=1e-4) and not found.certain  # t = 2 sqrt(3), two degrees of freedom
    assert over_runs(np.array([4.0])).p == 1 and over_runs(np.zeros(4)).p == 1
    assert [over_runs(np.full(n, 0.1)).p for n in (2, 4, 6)] == [0.5, 0.125, 0.03125], "only signs are left to count"
