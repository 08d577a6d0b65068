import numpy as np
import pytest
from python_speech_features import mfcc as reference

from talkingavatar.errors import UserError
from talkingavatar.metrics.lipsync.mfcc import RATE, mfcc


def sixteen_bit(seconds, seed=0):
    """A chirp through the whole band, noise, and a silent middle."""
    count = round(seconds * RATE)
    time = np.arange(count) / RATE
    sound = 0.5 * np.sin(2 * np.pi * (50 * time + 3800 * time**2 / max(seconds, 1e-9)))
    sound += 0.05 * np.random.default_rng(seed).standard_normal(count)
    sound[count // 3 : count // 2] = 0
    return np.round(sound.clip(-1, 1) * 32767).astype(np.int16)


@pytest.mark.parametrize("count", [1, 399, 400, 401, 560, 561, 16_000, 47_999])
def test_equals_python_speech_features_of_the_16_bit_samples(count):
    samples = sixteen_bit(3)[:count]
    ours = mfcc(samples.astype(np.float32) / 32768)
    theirs = reference(samples)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-8)


def test_long_sound_is_worked_off_in_pieces_without_seams():
    samples = sixteen_bit(45)  # 4,499 windows
    np.testing.assert_allclose(mfcc(samples / 32768), reference(samples), rtol=1e-9, atol=1e-8)


def test_silence_is_finite():
    cepstra = mfcc(np.zeros(16_000, np.float32))
    np.testing.assert_allclose(cepstra, reference(np.zeros(16_000, np.int16)))
    assert np.isfinite(cepstra).all()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.full(900, np.nan, np.float32), "not numbers"),
        (sixteen_bit(1).astype(np.float32), "divide"),
    ],
)
def test_what_is_no_sound_in_the_unit_range_is_refused(samples, message):
    with pytest.raises(UserError, match=message):
        mfcc(samples)
