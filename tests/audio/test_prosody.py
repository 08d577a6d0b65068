from dataclasses import replace

import numpy as np
import pytest

from talkingavatar.audio.prosody import Manner, Stretch, analysed, pitch_of, spoken
from talkingavatar.audio.speech import RATE, load_speech

SECONDS = 6.0


@pytest.fixture(scope="module")
def heard():
    return analysed(load_speech("ada").excerpt(0.0, SECONDS))


def said(heard, manner):
    return spoken(heard, [Stretch(0.0, SECONDS, manner)])[0]


def decibels(samples):
    return 20 * np.log10(np.sqrt(np.mean(np.square(samples))))


def test_a_manner_that_changes_nothing_gives_the_same_sound(heard):
    before, after = heard.speech, said(heard, Manner())
    assert decibels(after.samples - before.samples) < decibels(before.samples) - 40
    assert after.phonemes == before.phonemes and after.words == before.words


def test_pitch_goes_up_by_its_factor_and_ranges_as_far_as_asked(heard):
    def octaves(samples):
        pitch = pitch_of(samples, RATE)
        return np.log2(pitch[pitch > 0])

    before = octaves(heard.speech.samples)
    higher, flat = (octaves(said(heard, manner).samples) for manner in (Manner(pitch=1.2), Manner(range=0.3)))
    assert 2 ** (np.median(higher) - np.median(before)) == pytest.approx(1.2, abs=0.04)
    assert higher.std() == pytest.approx(before.std(), rel=0.25)
    assert flat.std() < 0.6 * before.std() and np.median(flat) == pytest.approx(np.median(before), abs=0.05)


def test_what_is_said_moves_with_the_sound(heard):
    """Half of it slower, half faster: each phoneme is as loud where it is said now as where it was said."""
    stretches = [Stretch(0.0, 3.0, Manner(tempo=0.8)), Stretch(3.0, SECONDS, Manner(tempo=1.25))]
    after, edges = spoken(heard, stretches)
    assert edges.tolist() == pytest.approx([0.0, 3.75, 3.75 + 2.4])
    assert after.duration == pytest.approx(edges[-1], abs=1e-4)

    def loudness(speech):
        middles = [round(0.5 * (p.start + p.end) * RATE) for p in speech.phonemes]
        return np.array([decibels(speech.samples[m - 160 : m + 160] + 1e-4) for m in middles])

    assert [p.symbol for p in after.phonemes] == [p.symbol for p in heard.speech.phonemes]
    assert np.corrcoef(loudness(heard.speech), loudness(after))[0, 1] > 0.9
    unmoved = replace(after, phonemes=heard.speech.phonemes)
    assert np.corrcoef(loudness(heard.speech), loudness(unmoved))[0, 1] < 0.6


def test_louder_and_brighter(heard):
    def tilt(samples):
        power = np.abs(np.fft.rfft(samples)) ** 2
        edges = (np.array([250, 500, 2000, 4000]) * len(samples) / RATE).astype(int)
        return 10 * np.log10(power[edges[2] : edges[3]].sum() / power[edges[0] : edges[1]].sum())

    quiet, bright = said(heard, Manner(gain=-6.0)), said(heard, Manner(tilt=2.0))
    assert decibels(quiet.samples) - decibels(heard.speech.samples) == pytest.approx(-6.0, abs=0.1)
    assert tilt(bright.samples) - tilt(heard.speech.samples) == pytest.approx(3 * 2.0, abs=1.0)  # three octaves apart
    assert np.abs(said(heard, Manner(gain=30.0)).samples).max() <= 0.98
