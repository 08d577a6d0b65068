import numpy as np
import pytest

from talkingavatar.audio.speech import RATE, load_speech, voices
from talkingavatar.errors import UserError

VOWELS = set("aeiouæɑɒɔəɛɜɪʊʌɐᵻɚ")


@pytest.fixture(scope="module", params=["ada", "ben", "carl"])
def speech(request):
    return load_speech(request.param)


def level(speech, spans):
    """Mean power in dB over the spans, leaving out their first and last quarter."""
    parts = []
    for start, end in spans:
        quarter = (end - start) / 4
        parts.append(speech.samples[int((start + quarter) * RATE) : int((end - quarter) * RATE)])
    return 10 * np.log10(np.square(np.concatenate(parts)).mean() + 1e-12)


def test_sound_is_long_loud_and_unclipped(speech):
    assert speech.rate == RATE
    assert speech.duration >= 75
    assert speech.samples.dtype == np.float32
    assert 0.3 < np.abs(speech.samples).max() < 0.95
    speaking = speech.samples[np.abs(speech.samples) > 1e-3]
    assert abs(20 * np.log10(np.sqrt(np.square(speaking).mean())) + 22) < 1


def test_phonemes_are_in_order_and_inside(speech):
    starts = np.array([p.start for p in speech.phonemes])
    ends = np.array([p.end for p in speech.phonemes])
    assert (ends > starts).all() and (starts[1:] >= ends[:-1] - 1e-6).all()
    assert starts[0] >= 0 and ends[-1] <= speech.duration
    assert len({p.symbol for p in speech.phonemes}) >= 40
    assert {p.stress for p in speech.phonemes} == {0, 1, 2}


def test_times_agree_with_the_sound(speech):
    vowels = [(p.start, p.end) for p in speech.phonemes if p.symbol[0] in VOWELS]
    closures = [(p.start, p.start + 0.03) for p in speech.phonemes if p.symbol in {"p", "t", "k"}]
    gaps = [
        (a.end, b.start) for a, b in zip(speech.phonemes, speech.phonemes[1:], strict=False) if b.start - a.end > 0.3
    ]
    assert level(speech, vowels) > level(speech, closures) + 15
    assert level(speech, vowels) > level(speech, gaps) + 35
    assert len(gaps) > 15


def test_hissing_is_where_the_sibilants_are(speech):
    def share(symbols):
        spectra = [
            np.abs(np.fft.rfft(speech.samples[round(p.start * RATE) : round(p.end * RATE)], 2048)) ** 2
            for p in speech.phonemes
            if p.symbol in symbols
        ]
        spectrum = np.sum(spectra, 0)
        return spectrum[2048 * 3500 // RATE :].sum() / spectrum.sum()

    assert share({"s", "z"}) > 0.5
    assert share({"m", "n", "ɑː", "ɔː"}) < 0.05


def test_words_follow_the_text(speech):
    assert " ".join(w.text for w in speech.words) == speech.text
    for word in speech.words:
        assert 0 <= word.start < word.end <= speech.duration


def test_excerpt_keeps_sound_and_times_together():
    whole = load_speech("ada")
    part = whole.excerpt(10.0, 15.0)
    assert part.duration == pytest.approx(5.0)
    np.testing.assert_array_equal(part.samples, whole.samples[160000:240000])
    first = next(p for p in whole.phonemes if p.start >= 10.0)
    assert part.phonemes[0].start == pytest.approx(first.start - 10.0)
    assert all(0 <= p.start < p.end <= 5.0 for p in part.phonemes)


def test_voice_by_index_and_unknown_voice():
    assert load_speech(4).text == load_speech(voices()[1]).text
    with pytest.raises(UserError, match="ada, ben, carl"):
        load_speech("hal")
