import numpy as np
import pytest

from talkingavatar.audio.loudness import correlation_and_offset, envelope


@pytest.mark.parametrize("fps", [25, 29.97, 12.5])
def test_envelope_is_the_rms_round_each_frame(fps):
    rate, frames = 16000, 40
    samples = np.zeros(round(frames / fps * rate), np.float32)
    samples[round(20 / fps * rate)] = 1.0
    values = envelope(samples, rate, fps, frames)
    assert values.argmax() == 20
    assert not values[:19].any() and not values[22:].any()
    tone = np.sin(2 * np.pi * 200 * np.arange(4 * rate) / rate)
    assert envelope(tone, rate, fps, frames)[10:30] == pytest.approx(np.sqrt(0.5), abs=0.02)


@pytest.mark.parametrize("lag", [-4, 0, 3])
def test_offset_is_positive_where_the_signal_comes_later(lag):
    noise = np.random.default_rng(0).normal(size=300)
    at_zero, best, offset = correlation_and_offset(np.roll(noise, lag), noise, 8)
    assert offset == lag and best > 0.95
    assert (at_zero > 0.95) == (lag == 0)


def test_what_does_not_vary_correlates_with_nothing():
    at_zero, best, offset = correlation_and_offset(np.ones(50), np.random.default_rng(0).normal(size=50), 5)
    assert np.isnan(at_zero) and np.isnan(best) and offset == 0
