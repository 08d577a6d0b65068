"""Sound in chunks against the whole."""

import numpy as np
import pytest

from talkingavatar.audio.features import RATE, log_mel
from talkingavatar.audio.stream import LogMelStream

NTSC = 30000 / 1001


@pytest.fixture(scope="module")
def sound():
    return np.random.default_rng(0).normal(0, 0.1, 5 * RATE + 137).astype(np.float32)


def chunks(sound, draw, longest):
    at = 0
    while at < len(sound):
        size = int(draw.integers(0, longest))
        yield sound[at : at + size]
        at += size


@pytest.mark.parametrize("fps", [25, NTSC, 60])
@pytest.mark.parametrize("longest", [2, 700, 5000, 200_000])
def test_any_chunks_give_the_windows_of_the_whole(sound, fps, longest):
    sound = sound if longest > 2 else sound[: RATE // 3]
    frames = round(len(sound) / RATE * fps)
    stream = LogMelStream(fps)
    parts = [stream.push(chunk) for chunk in chunks(sound, np.random.default_rng([1, longest]), longest)]
    assert longest >= 5000 or max(len(part) for part in parts) < 0.3 * fps
    parts.append(stream.finish())
    given = np.concatenate(parts)
    assert given.shape == (frames, 16, 44) and stream.frames == frames
    np.testing.assert_array_equal(given, log_mel(sound, fps, frames))


@pytest.mark.parametrize("fps", [25, NTSC])
def test_a_window_comes_as_soon_as_it_is_heard_and_no_sooner(sound, fps):
    stream = LogMelStream(fps)
    for sample in range(0, len(sound), 80):
        before = stream.frames
        stream.push(sound[sample : sample + 80])
        if stream.frames > before:  # half a sample is rounding
            last, heard = stream.frames - 1, stream.samples / RATE + 0.5 / RATE
            assert last / fps + stream.lookahead <= heard < (last + 1) / fps + stream.lookahead + 1 / RATE
    assert stream.frames > 4.7 * fps


def test_little_is_kept_of_a_long_sound(sound):
    stream = LogMelStream(25)
    for _ in range(20):
        stream.push(sound)
        assert len(stream._kept) < 0.5 * RATE
    assert stream.samples == 20 * len(sound)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (100, 0), (700, 1), (700, 9)])
def test_sounds_shorter_than_a_window(sound, samples, frames):
    stream = LogMelStream(25)
    assert len(stream.push(sound[:samples])) == 0
    rest = stream.finish(frames)
    np.testing.assert_array_equal(rest, log_mel(sound[:samples], 25, frames))
    assert rest.shape == (frames, 16, 44)


def test_a_part_of_the_sound_gives_a_part_of_the_windows(sound):
    whole = log_mel(sound, NTSC, 100)
    start, stop = round(40 / NTSC * RATE) - 4000, round(60 / NTSC * RATE) + 4000
    part = log_mel(sound[start:stop], NTSC, 20, first_frame=40, first_sample=start)
    np.testing.assert_array_equal(part, whole[40:60])
