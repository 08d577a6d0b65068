from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from talkingavatar.data.sync_variation import Variation, varied_frames, varied_sound
from talkingavatar.metrics.lipsync.mfcc import filterbank, mfcc

REGION = (52, 159)
NOTHING = Variation().scaled(0)


def still(frames=5, seed=0):
    """A smooth picture, the same in all frames."""
    coarse = torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(seed))
    return 255 * torch.nn.functional.interpolate(coarse, size=224, mode="bilinear").expand(frames, 3, 224, 224)


def varied(variation, seed, frames=5):
    return varied_frames(still(frames), REGION, variation, np.random.default_rng(seed))


def speech(seconds=0.4):
    time = np.arange(round(16_000 * seconds)) / 16_000
    voice = 0.2 * sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 40))
    return voice + 0.02 * np.random.default_rng(0).standard_normal(len(time))


def test_nothing_is_changed_where_all_is_zero():
    seen = still()[:, :, slice(*REGION), slice(*REGION)]
    for seed in range(4):
        found = varied(NOTHING, seed)
        mirrored = still().flip(3)[:, :, slice(*REGION), slice(*REGION)]
        assert min((found - seen).abs().max(), (found - mirrored).abs().max()) < 0.01
    np.testing.assert_allclose(varied_sound(speech(), NOTHING, np.random.default_rng(0)), mfcc(speech()), atol=1e-2)


@pytest.mark.parametrize("name", [f.name for f in fields(Variation)])
def test_each_change_alone_changes_something_and_keeps_the_range(name):
    alone = replace(NOTHING, **{name: getattr(Variation(), name)})
    seen = [(varied(alone, seed), varied(NOTHING, seed)) for seed in range(4)]
    assert all(found.min() >= 0 and found.max() <= 255 for found, _ in seen)
    heard = [[varied_sound(speech(), v, np.random.default_rng(seed)) for v in (alone, NOTHING)] for seed in range(12)]
    changed = max(float((a - b).abs().max()) for a, b in seen), max(float(np.abs(a - b).max()) for a, b in heard)
    of_sound = name in ("voice", "band", "gain", "noise")
    assert changed[of_sound] > 0.05 and changed[not of_sound] < 1e-3


def test_nothing_moves_that_did_not():
    """All frames are changed alike, but for the detector's shaking and the sensor's noise."""
    steady = replace(Variation(), shake=0.0, grain=0.0, compression=0.0)  # which would magnify the last bit
    for seed in range(4):
        found = varied(steady, seed)
        assert (found - found[:1]).abs().max() < 1e-3
        assert (varied(Variation(), seed) - varied(Variation(), seed)[:1]).abs().max() > 0


def test_a_face_shakes_by_parts_of_a_pixel():
    ramp = torch.arange(224.0).expand(1, 3, 224, 224).expand(400, -1, -1, -1)
    shaken = varied_frames(ramp, REGION, replace(NOTHING, shake=0.002), np.random.default_rng(0))
    assert float(shaken[:, 0, 50, 50].std()) == pytest.approx(0.002 * 224, rel=0.1)


def test_the_length_of_the_vocal_tract_moves_formants_down():
    bins = np.arange(257)

    def middles(tract):
        bank = filterbank(tract)
        return bank @ bins / bank.sum(1)

    published, longer = middles(1.0), middles(1.2)
    low, high = slice(5, 18), slice(24, 26)
    np.testing.assert_allclose(longer[low] / published[low], 1.2, rtol=0.05)
    assert (longer[high] / published[high] < 1.1).all() and longer[-1] < 256
    assert (filterbank(0.8).sum(1) > 0).all()


def test_a_microphone_s_gain_is_one_for_the_whole_sound():
    """Loudness alone moves the energy of all windows by the same, and no other cepstrum."""
    louder = varied_sound(speech(), replace(NOTHING, gain=6.0), np.random.default_rng(3)) - mfcc(speech())
    assert louder[2:-2, 0].std() < 0.01 and 0.01 < abs(louder[5, 0]) < np.log(10**0.6) + 0.01
    assert np.abs(louder[2:-2, 1:]).max() < 0.05
