"""The embedded speaker with labelled emotions: what is felt, heard, seen and written down."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from talkingavatar.audio.speech import load_speech
from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.config.emotions import EMOTIONS, chosen_emotions
from talkingavatar.config.schema import AudioConfig
from talkingavatar.data.action_units import JAW_JOINT, JAW_OPEN, unit_table
from talkingavatar.data.motion_clips import speaker_clip, whole_speech
from talkingavatar.data.sources import source_of
from talkingavatar.data.speaker import visemes
from talkingavatar.data.speaker.body_motion import perform
from talkingavatar.data.speaker.emotions import ARTICULATION, HEAD, PROTOTYPES, Feelings
from talkingavatar.data.speaker.probe import heard_emotions
from talkingavatar.data.speaker.record import _digest, recording_of
from talkingavatar.data.speaker.script import LONGEST, MANNERS, SHORTEST, STRENGTHS, Felt, Take, phrases, said, take_of
from talkingavatar.errors import UserError
from talkingavatar.metrics.action_units import AuEstimator

FPS, FRAMES = 25, 75
PLAIN = compose(["data.seconds=2", "data.size=64"]).data
CONFIG = compose(["data.seconds=2", "data.size=64", "data.fps=10", "data.emotions=all", "data.cameras=3"]).data
# What must rise with each (methods.md D.7.2).
TELLING = {
    "happy": ("AU06", "AU12"), "sad": ("AU01", "AU15"), "angry": ("AU04", "AU07", "AU23"),
    "surprised": ("AU01", "AU02", "AU05", "AU26"), "disgusted": ("AU09", "AU10"),
    "afraid": ("AU01", "AU04", "AU05", "AU20"), "contempt": ("AU12", "AU14"),
}  # fmt: skip


@cache
def performed(emotion, strength, seed=0):
    """Three seconds of speech said with one emotion throughout."""
    speech = load_speech("ada").excerpt(6.0, 6.0 + FRAMES / FPS)
    feelings = partial(Feelings, [Felt(0.0, 3.0, emotion, strength)], person=1, crooked=1.0, seed=seed)
    return speech, perform(speech, FRAMES, FPS, 0, feelings=feelings)


def units(performance):
    names = load_body("open").expression_names
    table = unit_table(performance.expression_matrix(names), names, performance.full_pose[:, JAW_JOINT, 0])
    return dict(zip(table.names, table.values[15:60].mean(0), strict=True))


def test_every_emotion_is_told_apart_in_each_table():
    felt = set(EMOTIONS) - {"neutral"}
    assert set(PROTOTYPES) == set(ARTICULATION) == set(HEAD) == set(TELLING) == felt and set(MANNERS) == set(EMOTIONS)


def test_a_script_deals_every_emotion_in_every_strength():
    take = take_of(0, EMOTIONS, 0)
    assert {felt.emotion for felt in take.felt[:8]} == set(EMOTIONS)
    dealt = {emotion: [f.strength for f in take.felt if f.emotion == emotion][:3] for emotion in EMOTIONS}
    assert dealt.pop("neutral") == [0.0] * 3 and all(sorted(found) == sorted(STRENGTHS) for found in dealt.values())
    assert all(a.emotion != b.emotion and a.end == b.start for a, b in zip(take.felt, take.felt[1:], strict=False))
    assert take.felt[-1].end == pytest.approx(take.speech.duration, abs=1e-3)
    other = [felt.emotion for felt in take_of(0, EMOTIONS, 1).felt]
    assert other != [felt.emotion for felt in take.felt]
    assert {felt.emotion for felt in said(replace(CONFIG, emotions="happy")).felt} == {"happy"}


def test_phrases_are_whole_words_of_one_or_two_seconds():
    speech = load_speech("ben")
    edges = phrases(speech)
    cut = [p for p in speech.phonemes for edge in edges[1:-1] if p.start + 0.01 < edge < p.end - 0.01]
    assert not cut and edges[0] == 0 and edges[-1] == speech.duration
    lengths = np.diff(edges)
    assert lengths[:-1].min() > SHORTEST and lengths.max() < 2 * LONGEST


@pytest.mark.parametrize("emotion", TELLING)
def test_action_units_rise_in_the_order_of_strength(emotion):
    rising = [units(performed("neutral", 0.0)[1])] + [units(performed(emotion, strength)[1]) for strength in STRENGTHS]
    for unit in TELLING[emotion]:
        assert np.diff([of[unit] for of in rising]).min() > 0.05, unit
    assert sum(rising[-1][unit] - rising[0][unit] for unit in TELLING[emotion]) > 1.5


@pytest.mark.parametrize("emotion", TELLING)
def test_lips_that_must_close_still_do(emotion):
    """No farther apart than when nothing is felt."""
    speech, performance = performed(emotion, 1.0)
    gap = visemes.lip_gap(performance.full_pose[:, JAW_JOINT, 0], performance.expression)
    plain = performed("neutral", 0.0)[1]
    usual = visemes.lip_gap(plain.full_pose[:, JAW_JOINT, 0], plain.expression)
    closed = [round(FPS * (p.start + p.end) / 2) for p in speech.phonemes if p.symbol in "pbm" and p.end < 2.9]
    assert len(closed) >= 3 and (gap[closed] < usual[closed] + 1.0).all()  # millimetres
    assert gap.max() > 3.0


def test_a_smile_narrows_rounding_and_adds_no_voice_of_its_own():
    times = np.arange(300) / 100
    mouth = {name: np.full(300, 0.1) for name in visemes.ARTICULATORS}
    smiling = Feelings([Felt(0.0, 3.0, "happy", 1.0)], times, 1, 1.0, 0).articulated(mouth)
    assert smiling["pucker"][150] == pytest.approx(0.05) and smiling["seal"][150] == 0.1
    silent = Feelings([Felt(0.0, 3.0, "happy", 1.0)], times, 1, 1.0, 0).articulated(dict.fromkeys(mouth, np.zeros(300)))
    assert not any(values.any() for name, values in silent.items() if name != "jaw")


def test_feelings_set_in_and_fade_into_the_next():
    felt = [Felt(0.0, 1.5, "happy", 0.7), Felt(1.5, 3.0, "sad", 1.0), Felt(3.0, 4.0, "neutral", 0.0)]
    feelings = Feelings(felt, np.arange(400) / 100, 1, 1.0, 0)
    shares, labels = feelings.intensities, feelings.labels
    happy, sad = (shares[:, EMOTIONS.index(name)] for name in ("happy", "sad"))
    np.testing.assert_allclose(shares.sum(1), 1.0)
    assert happy[60] == pytest.approx(0.7) and sad[220] == pytest.approx(1.0) and shares[390, 0] == pytest.approx(1.0)
    assert 0 < happy[140] < 0.7 and 0 < sad[140] < 1.0  # both, while one gives way
    assert np.abs(np.diff(shares, axis=0)).max() < 0.06  # a step of 10 ms
    assert labels[0, :2].tolist() == pytest.approx([0.3, 0.7]) and labels[150, EMOTIONS.index("sad")] == 1
    np.testing.assert_allclose(labels.sum(1), 1.0)


def test_one_label_has_many_performances():
    (_, one), (_, same), (_, other) = (performed("angry", 1.0, seed) for seed in (3, 3, 4))
    difference = np.abs(one.expression["browDownLeft"] - other.expression["browDownLeft"])
    assert np.array_equal(one.expression["browDownLeft"], same.expression["browDownLeft"])
    assert 0.02 < difference.mean() < 0.5


def test_what_is_felt_can_be_heard():
    takes = [take_of(0, EMOTIONS, seed) for seed in (0, 1)]
    assert heard_emotions(takes) > 3 / len(EMOTIONS)
    speech = load_speech(0)
    edges = phrases(speech)
    plain = [
        Take(speech, tuple(replace(f, start=a, end=b) for f, a, b in zip(take.felt, edges, edges[1:], strict=False)))
        for take in takes
    ]
    assert heard_emotions(plain) < 2 / len(EMOTIONS)  # the same labels, said as ever


def test_without_emotions_and_cameras_captures_are_those_of_before():
    assert _digest(PLAIN) == _digest(replace(PLAIN, emotions="none", cameras=1))
    others = {
        _digest(replace(PLAIN, **change)) for change in ({"emotions": "all"}, {"cameras": 2}, {"emotions": "sad"})
    }
    assert len(others | {_digest(PLAIN)}) == 4
    assert said(PLAIN).felt == () and np.array_equal(said(PLAIN).speech.samples, load_speech(0).samples)
    assert recording_of(PLAIN).feelings is None


def test_drivers_hear_the_whole_of_it_and_go_on_where_it_ends():
    speech = said(CONFIG).speech
    whole = whole_speech(CONFIG, 0, FPS)
    assert 0 <= speech.duration - whole.seconds < 1 / FPS and whole.emotions == "all"
    clip = speaker_clip(replace(CONFIG, seconds=3.0), AudioConfig(), "smplx", FPS)
    np.testing.assert_array_equal(clip.samples, speech.samples[: len(clip.samples)])
    heard = source_of(CONFIG).unheard(CONFIG, 2.0)
    np.testing.assert_array_equal(heard, speech.excerpt(2.0, 4.0).samples)


def test_the_jaw_opens_as_its_action_does():
    assert AuEstimator(load_body("open"))._open == pytest.approx(JAW_OPEN, abs=1e-3)


def test_emotions_are_named_as_they_are():
    assert chosen_emotions("none") == () and chosen_emotions("all") == EMOTIONS
    assert chosen_emotions("sad+happy") == ("happy", "sad")
    with pytest.raises(UserError, match=r"data\.emotions: found 'hapy'; .*did you mean happy"):
        compose(["data.emotions=hapy+sad"])
