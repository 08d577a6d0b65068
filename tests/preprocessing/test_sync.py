import numpy as np
import pytest

from talkingavatar.audio.features import RATE
from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.preprocessing.sync import estimate_offset, mouth_opening, shifted

FPS, FRAMES = 25.0, 300


@pytest.fixture(scope="module")
def spoken():
    """Real speech, and a mouth that opens with its vowels: low frequencies loud, hiss not."""
    speech = load_speech(voices()[0])
    samples = speech.samples[: round(FRAMES / FPS * RATE)].astype(np.float32)
    spectrum = np.abs(np.fft.rfft(np.pad(samples, (320, 320))[np.arange(FRAMES)[:, None] * 640 + np.arange(640)]))
    vowels = np.log(spectrum[:, 12:40].mean(1) + 0.1)
    noise = 0.3 * vowels.std() * np.random.default_rng(0).normal(size=FRAMES)
    return samples, vowels + noise


@pytest.mark.parametrize("frames", [-6.0, 0.0, 5.0, 7.5])
def test_a_planted_offset_is_found(spoken, frames):
    samples, opening = spoken
    late = shifted(samples, -frames, FPS)
    offset = estimate_offset(opening, late, FPS, [(0, FRAMES)])
    assert offset.frames == pytest.approx(frames, abs=0.6) and offset.sure
    mended = estimate_offset(opening, shifted(late, offset.frames, FPS), FPS, [(0, FRAMES)])
    assert abs(mended.frames) <= 0.5


def test_gaps_and_cuts_do_not_disturb(spoken):
    samples, opening = spoken
    gappy = opening.copy()
    gappy[50:90] = np.nan
    offset = estimate_offset(gappy, shifted(samples, -4, FPS), FPS, [(0, 120), (120, FRAMES)])
    assert offset.frames == pytest.approx(4, abs=0.6)


def test_lips_of_another_speech_are_not_believed(spoken):
    samples, opening = spoken
    for seconds in (3, 5, 7):
        offset = estimate_offset(np.roll(opening, round(seconds * FPS)), samples, FPS, [(0, FRAMES)])
        assert not offset.sure


@pytest.mark.parametrize("what", ["short", "still", "silent"])
def test_what_cannot_be_told_is_said(spoken, what):
    samples, opening = spoken
    if what == "short":
        opening = np.where(np.arange(FRAMES) < 60, opening, np.nan)
    if what == "still":
        opening = np.full(FRAMES, 0.1)
    if what == "silent":
        samples = np.zeros_like(samples)
    offset = estimate_offset(opening, samples, FPS, [(0, FRAMES)])
    assert offset.frames is None and offset.why and not offset.sure


def test_shifting_moves_sound_earlier():
    samples = np.arange(1, 5 * 640 + 1, dtype=np.float32)
    assert (shifted(samples, 2, FPS)[: 3 * 640] == samples[2 * 640 :]).all()
    assert (shifted(samples, 2, FPS)[3 * 640 :] == 0).all()
    assert (shifted(samples, -1, FPS)[640:] == samples[: 4 * 640]).all()


def test_the_opening_does_not_depend_on_size():
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 90, (4, 135, 3))
    iris, mesh, faces = np.zeros((4, 2, 3)), np.zeros((4, 478, 3)), np.ones(4, int)
    near = Keypoints(points * [3, 3, 1], iris, mesh, faces)
    far = Keypoints(points, iris, mesh, faces)
    assert mouth_opening(near) == pytest.approx(mouth_opening(far))
