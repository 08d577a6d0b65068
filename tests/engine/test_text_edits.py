"""Prompts over held-out speech: what is asked for rises, and what is seen of it is told apart from what is not."""

from dataclasses import replace

import numpy as np
import pytest

from talkingavatar.body.action_units import NAMES
from talkingavatar.config.emotions import EMOTIONS
from talkingavatar.data.prompts.lexicon import lexicon
from talkingavatar.engine.measuring.edited_speech import PROMPTS, EditedSpeech
from talkingavatar.engine.measuring.held_out import some_held_out
from talkingavatar.engine.measuring.measure import Findings, Found, Networks, Options, Setting
from talkingavatar.engine.measuring.measures import text_edits
from talkingavatar.engine.measuring.measures.text_edits import Stairs, TextEdits
from talkingavatar.engine.measuring.seen_faces import Seen
from talkingavatar.metrics.emotion import EmotionClassifier
from tests.engine.test_driven_frames import avatar  # noqa: F401

HAPPY = NAMES.index("AU12")


@pytest.fixture(scope="module")
def setting(avatar):  # noqa: F811
    blind = Networks({"landmarks": Found(why="nobody looks")})
    held = some_held_out(avatar.data, avatar.body, list(range(avatar.data.capture.manifest.frames)))
    return Setting(held, blind, Options(), {}, avatar=avatar)


def classifier():
    """Of faces that do nothing but what their feeling's words ask."""
    labels, rng = np.arange(400) % 8, np.random.default_rng(0)
    units = rng.uniform(0, 0.5, (400, 17))
    for label, emotion in enumerate(EMOTIONS):
        for key, value in lexicon().words.emotions[emotion].units.items():
            units[labels == label, NAMES.index(key[:4])] = value
    return EmotionClassifier.fitted(np.concatenate([units, units], 1), labels, 8)


def test_what_is_asked_for_rises_and_the_lips_go_on(setting, monkeypatch, tmp_path):
    monkeypatch.setattr(text_edits, "PROMPTS", {"happy": PROMPTS["happy"]})
    monkeypatch.setattr(text_edits, "emotion_classifier", lambda seed: classifier())
    measure = TextEdits(replace(setting, folder=tmp_path))
    found = measure.finish(Findings(), Findings())
    assert found.skipped == {"edits/seen": "nobody looks"}
    metrics = found.metrics
    assert metrics["edits/spearman"] == 1 and metrics["edits/in_order_percent"] == 100
    assert metrics["edits/gain"] == metrics["edits/gain_happy"] > 2
    assert metrics["edits/told_percent"] == 100
    assert metrics["edits/leak_beyond"] <= metrics["edits/leak"] < 0.3
    assert metrics["edits/lips_percent"] < 10 and 0 < metrics["edits/edge"] < 5
    assert metrics["edits/opening_mm_edited"] == pytest.approx(metrics["edits/opening_mm_unedited"], rel=0.2)
    assert (tmp_path / "edits.png").stat().st_size > 5000


def test_what_is_seen_is_set_against_unedited_speech(setting):
    measure, speech = TextEdits(setting), EditedSpeech(setting.avatar, setting.held)
    units, openings = np.zeros((4, 2, 17)), np.full((4, 2), 0.1)
    units[:, :, HAPPY] = np.array([0, 1, 2, 4])[:, None]
    openings[1:] = 0.11
    findings = Findings()
    levels = measure._compared(Seen(units, openings, []), {"happy": Stairs(speech, "happy")}, findings)
    assert levels["happy"].tolist() == [0, 1, 2, 4], "of the units that landmarks tell"
    assert findings.skipped == {"edits/seen_happy_AU06": "unseen: landmarks do not tell it"}
    assert findings.metrics["edits/seen_gain"] == 4 and findings.metrics["edits/seen_spearman"] == 1
    assert findings.metrics["edits/seen_lips_percent"] == pytest.approx(10)


def test_too_little_speech_is_no_mistake(setting):
    held = setting.held
    cut = replace(held, frames=held.frames[:40], shots=[(0, 40)])
    found = TextEdits(replace(setting, held=cut)).finish(Findings(), Findings())
    assert found.skipped == {"edits": "no 2 s of speech are held out in a row"} and not found.metrics
