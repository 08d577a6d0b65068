"""The speaker-specific mouth: planted relations, silence, level, lag, and the embedded speaker."""

from dataclasses import fields

import numpy as np
import pytest

from talkingavatar.audio.loudness import correlation_and_offset, envelope
from talkingavatar.audio.mouth import MouthModel, away_from_cuts, fit_mouth
from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.runtime.readers import Unreadable

FPS = 25


def speech(voice: int, start: float, seconds: float) -> np.ndarray:
    return load_speech(voices()[voice]).excerpt(start, start + seconds).samples


def planted(samples: np.ndarray, frames: int) -> np.ndarray:
    """An opening that follows the sound's loudness, its mirror, and one that follows nothing."""
    loudness = np.sqrt(envelope(samples, 16000, FPS, frames))
    idle = np.random.default_rng(1).normal(size=frames)
    return np.stack([0.3 * loudness, 0.1 - 0.2 * loudness, idle], 1)


@pytest.fixture(scope="module")
def model() -> MouthModel:
    samples = speech(0, 0, 16)
    parameters = planted(samples, 400)
    return fit_mouth(samples, FPS, parameters, parameters[:, 0], np.ones(400, bool))


def test_a_planted_relation_is_recovered_without_lag(model):
    samples = speech(0, 16, 8)
    truth, found = planted(samples, 200), model.predict(samples, FPS, 200)
    for column in (0, 1):
        r, _, offset = correlation_and_offset(found[:, column], truth[:, column], 6)
        assert r > 0.93 and offset == 0
        assert found[:, column].std() == pytest.approx(truth[:, column].std(), rel=0.3)
    assert model.held_out_r[:2].min() > 0.9 and model.held_out_r[2] < 0.3
    assert found[:, 2].std() < 0.3


def test_silence_closes_the_mouth(model):
    still = model.predict(np.zeros(32000, np.float32), FPS, 50)
    assert np.allclose(still, model.rest)
    samples = np.concatenate([speech(0, 16, 2), np.zeros(32000, np.float32)])
    after = model.predict(samples, FPS, 100)[60:]
    assert np.allclose(after, model.rest, atol=1e-6)
    assert model.rest[0] < np.percentile(planted(speech(0, 0, 16), 400)[:, 0], 20)


def test_level_does_not_matter_and_another_voice_works(model):
    samples = speech(0, 16, 8)
    loud, quiet = (model.predict(gain * samples, FPS, 200)[:, 0] for gain in (1.0, 0.1))
    assert np.corrcoef(loud, quiet)[0, 1] > 0.98 and abs(loud.mean() - quiet.mean()) < 0.3 * loud.std()
    other = speech(1, 0, 8)
    assert np.corrcoef(model.predict(other, FPS, 200)[:, 0], planted(other, 200)[:, 0])[0, 1] > 0.85


def test_a_model_is_kept_whole(model, tmp_path):
    model.save(tmp_path / "mouth.npz")
    samples = speech(0, 16, 2)
    again = MouthModel.load(tmp_path / "mouth.npz", len(model.mean))
    assert np.array_equal(again.predict(samples, FPS, 50), model.predict(samples, FPS, 50))
    assert [file.name for file in tmp_path.iterdir()] == ["mouth.npz"]


def test_a_model_that_is_damaged_is_not_believed(model, tmp_path):
    file, tables = tmp_path / "mouth.npz", {field.name: getattr(model, field.name) for field in fields(model)}
    outputs = len(model.mean)
    changes = ({"gain": model.gain[1:]}, {"gain": model.gain * np.nan}, {"gain": np.array("x")}, {"loud": model.gain})
    for change in ({"weights": model.weights[1:]}, {"gain": np.array([{}])}, *changes):
        np.savez(file, **tables | change)
        with pytest.raises(Unreadable, match=r"mouth\.npz"):
            MouthModel.load(file, outputs)
    np.savez(file, **{name: values for name, values in tables.items() if name != "gain"})
    with pytest.raises(Unreadable, match="no gain"):
        MouthModel.load(file, outputs)
    model.save(file)
    with pytest.raises(Unreadable, match="fits no mouth"):
        MouthModel.load(file, outputs + 1)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(Unreadable, match="truncated"):
        MouthModel.load(file, outputs)


def test_frames_near_a_cut_are_left_out():
    kept = away_from_cuts([(0, 50), (50, 53), (53, 100)], 100, FPS)
    assert kept[:46].all() and not kept[46:57].any() and kept[57:].all()


def test_the_embedded_speaker_is_foretold_on_held_out_frames():
    """The jaw as tracked, without lag; the simulated tracker itself runs half a frame behind the truth."""
    from talkingavatar.body.models import load_body
    from talkingavatar.config.schema import DataConfig
    from talkingavatar.data.speaker.record import recording_of

    recording = recording_of(DataConfig())
    jaw = load_body("open").joint_names.index("jaw")
    tracked = np.asarray(recording.tracked.full_pose)[:, jaw]
    true = recording.performance.full_pose[:, jaw, 0]
    model = fit_mouth(recording.speech.samples, FPS, tracked, tracked[:, 0], np.arange(600) < 480)
    found = model.predict(recording.speech.samples, FPS, 600)[480:, 0]
    r, _, offset = correlation_and_offset(found, tracked[480:, 0], 6)
    assert r > 0.8 and offset == 0
    r, _, offset = correlation_and_offset(found, true[480:], 6)
    assert r > 0.8 and abs(offset) <= 1
    assert found.std() == pytest.approx(tracked[480:, 0].std(), rel=0.35)
