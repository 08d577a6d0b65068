"""What comes of sound block by block is what comes of it as a whole."""

import asyncio
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from talkingavatar.audio.features import attention_windows, audio_features
from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.body.models import load_body
from talkingavatar.data.prompts.ask import Ask, Asked, track_of
from talkingavatar.drivers.driver import Heard, Prompt
from talkingavatar.drivers.unit_edit import UnitEdit
from talkingavatar.engine.measuring.stream_bench import _untrained
from talkingavatar.engine.performing.editing import foretold
from talkingavatar.engine.performing.speech import Speaker, Windows
from talkingavatar.geometry.rotations import axis_angle_to_matrix, matrix_to_quat
from talkingavatar.types import BodyPose, DrivingSignal
from talkingavatar.viewer.bench import LEAD, speech, talk
from talkingavatar.viewer.shown import rows_of
from talkingavatar.viewer.speaking import RunVoice, live_of

FRAMES, BLOCK = 50, 320


@dataclass(frozen=True)
class Moved:
    """A motion whose residual is the loudest that the method itself hears."""

    quats: np.ndarray
    transl: np.ndarray
    expression: np.ndarray
    residual: np.ndarray


def motion(signal: DrivingSignal) -> Moved:
    pose = signal.pose
    heard = torch.zeros(len(pose)) if signal.audio is None else signal.audio.flatten(1).amax(1)
    quats = matrix_to_quat(axis_angle_to_matrix(pose.full_pose))
    return Moved(*(part.numpy() for part in (quats, pose.transl, pose.expression, heard[:, None])))


@pytest.fixture(scope="module")
def sound():
    return load_speech(voices()[0]).excerpt(0.0, 2.0).samples


@pytest.fixture(scope="module")
def features(sound):
    return torch.from_numpy(np.ascontiguousarray(audio_features(sound, 16_000, 25, FRAMES, "logmel", None, "logits")))


@pytest.mark.parametrize("hears", [False, True])
@torch.no_grad()
def test_a_live_voice_says_what_the_whole_sound_says(sound, features, hears):
    driver, first = _untrained(load_body("open_flame")), 20
    idle = driver.space.body.zero_pose(30)
    idle.transl[:, 0] = torch.arange(30)
    voice = RunVoice(Speaker(driver, driver.space.body, idle, hears).speech(first), motion)
    rows = [voice.push(sound[i : i + BLOCK]) for i in range(0, len(sound), BLOCK)]
    said = np.concatenate([part for part in rows if len(part)])
    expected = FRAMES - round(driver.lookahead * 25) - 1
    assert expected <= len(said) <= expected + 2
    back = 29 - np.abs((first + np.arange(FRAMES)) % 58 - 29)  # there and back again
    windows = attention_windows(features) if hears else None
    signal = DrivingSignal(torch.full((FRAMES,), -1), idle[torch.from_numpy(back)], windows)
    whole = rows_of(motion(driver.foretell(signal, Heard(25.0, sound, features))))
    np.testing.assert_allclose(said, whole[: len(said)], atol=1e-5)
    assert whole[:, -1].any() == hears


@torch.no_grad()
def test_what_is_asked_of_a_live_face_is_what_a_performance_makes_of_it(sound, features):
    driver = _untrained(load_body("open_flame"))
    body, idle = driver.space.body, driver.space.body.zero_pose(FRAMES + 1)
    asks = [Ask(0.5, 1.0, raised={"AU12": 4.0}, feeling=True)]
    asked = Asked(25.0, [replace(ask, start=ask.start + 2, stop=ask.stop + 2) for ask in asks], origin=50)
    speech = Speaker(driver, body, idle, False).speech(0, edit=UnitEdit(asked))
    said = [speech.push(sound[i : i + 4000]) for i in range(0, len(sound), 4000)] + [speech.finish()]
    found = BodyPose.cat([signal.pose for signal in said if signal is not None])
    signal = DrivingSignal(torch.full((FRAMES,), -1), idle[:FRAMES])
    edit, heard = UnitEdit(track_of(asks, 25.0, FRAMES)), Heard(25.0, sound, features)
    expected = foretold(driver, signal, heard, Prompt(), 0, body, edit).pose
    certain = slice(FRAMES - 12)  # what is beyond the end of the sound, they pad otherwise
    torch.testing.assert_close(found.expression[certain], expected.expression[certain], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.full_pose[certain], expected.full_pose[certain], atol=1e-4, rtol=1e-3)
    assert len(found) == FRAMES
    assert (expected.expression - driver.foretell(signal, heard).pose.expression).abs().max() > 0.3


def test_windows_are_the_whole_sounds(sound, features):
    """Whatever the blocks."""
    windows, came = Windows(25.0), []
    for part in np.array_split(sound, [100, 5000, 5001, 20_000]):
        windows.push(part)
        if windows.ready:
            came.append(windows.take(windows.ready))
    whole = attention_windows(features)
    came = torch.cat(came)
    assert len(came) > FRAMES - 10
    torch.testing.assert_close(came, whole[: len(came)], rtol=0, atol=0)


def test_an_hour_costs_no_more_than_a_minute(sound):
    """In small: twenty seconds through a real socket, faster than spoken; nothing is lost, late or piled up."""
    driver = _untrained(load_body("open_flame"))
    live = live_of(Speaker(driver, driver.space.body, driver.space.body.zero_pose(30), False), motion)
    heard = asyncio.run(talk(live, speech(20), 1000))
    assert heard.counts["samples"] == 20 * 16_000 and heard.counts["starts"] == 1
    assert (heard.counts["late"], heard.counts["unheard"]) == (0, 0)
    certain = 20 * 25 - round(25 * driver.lookahead)
    assert certain - 1 <= heard.frames == heard.counts["frames"] <= certain + 1
    assert max(heard.lags) < driver.lookahead + LEAD + 3 / 25
    assert np.mean(heard.lags[-100:]) < np.mean(heard.lags[:100]) + 2 / 25  # no drift
