"""Labelled phrases: where they lie, what is learned of them, and how far takes of one phrase are apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.config.emotions import EMOTIONS
from talkingavatar.data.motion_clips import speaker_clip
from talkingavatar.engine.measuring import labelled_takes
from talkingavatar.engine.measuring.confusion_picture import draw_confusion
from talkingavatar.engine.measuring.foretold import Foretold
from talkingavatar.engine.measuring.held_out import held_out_of_clip
from talkingavatar.engine.measuring.labelled_takes import Phrase, labelled_features, phrases_of, true_take
from talkingavatar.engine.measuring.measure import Networks, Options, Setting
from talkingavatar.engine.measuring.measures import driver_samples, emotion_accuracy
from talkingavatar.engine.measuring.measures.driver_samples import DriverSamples
from talkingavatar.engine.measuring.measures.emotion_accuracy import EmotionAccuracy
from talkingavatar.engine.measuring.scoring import score_motion
from talkingavatar.metrics.emotion import EmotionClassifier
from talkingavatar.types import DrivingSignal


def labels(*stretches):
    rows = []
    for count, emotion, strength in stretches:
        row = np.zeros(8)
        row[EMOTIONS.index(emotion)] = strength
        row[0] += 1 - strength
        rows += [row] * count
    return np.array(rows)


def test_phrases_are_stretches_of_one_label_within_a_shot():
    table = labels((30, "happy", 0.7), (25, "neutral", 0.0), (10, "sad", 1.0), (40, "sad", 0.45))
    found = phrases_of(table, [(0, 65), (65, 105)], 25.0)
    assert found == [Phrase(0, 30, "happy", 0.7), Phrase(30, 55, "neutral", 0.0), Phrase(65, 105, "sad", 0.45)]


@pytest.fixture(scope="module")
def config():
    return replace(compose(["data.emotions=all", "tracking=none"]).data, seconds=20.0)


@pytest.fixture(scope="module")
def held(config):
    clip = speaker_clip(config, compose([]).audio, "flame", 25.0, 0.5)
    return held_out_of_clip(clip, load_body("open_flame"), config=config)


def test_a_clip_says_the_phrases_that_it_was_made_of(held, config):
    made = [phrase for phrase in true_take(config, "flame", 25.0).phrases if phrase.start >= held.frames[0]]
    known = phrases_of(held.labels, held.shots, 25.0)
    places = [(phrase.start + held.frames[0], phrase.emotion, phrase.strength) for phrase in known]
    for phrase in made:
        assert (phrase.emotion, phrase.strength) in {(e, s) for start, e, s in places if abs(start - phrase.start) < 2}


def test_emotions_are_told_from_the_true_face_and_not_from_a_still_one(held, config, monkeypatch, tmp_path):
    features = labelled_features([replace(config, seed=seed, seconds=60.0) for seed in (1, 2)])
    classifier = EmotionClassifier.fitted(features["features"], features["labels"], 8)
    monkeypatch.setattr(emotion_accuracy, "emotion_classifier", lambda seed: classifier)
    setting = Setting(held, Networks(), Options(), {})
    true = Foretold(DrivingSignal(torch.tensor(held.frames), held.truth))
    found = score_motion(replace(setting, foretold=true), [EmotionAccuracy])
    assert found.metrics["emotion/accuracy"] == found.metrics["emotion/ceiling"] > 0.7
    assert found.metrics["emotion/phrases"] == len(phrases_of(held.labels, held.shots, held.fps)) > 3
    still = held.truth[[0] * len(held.frames)]
    frozen = Foretold(DrivingSignal(torch.tensor(held.frames), still))
    assert score_motion(replace(setting, foretold=frozen), [EmotionAccuracy]).metrics["emotion/accuracy"] < 0.5
    expression = held.truth.expression.clone()
    expression[:, 0] = held.tracked.expression[:, 0]
    partly = Foretold(DrivingSignal(torch.tensor(held.frames), replace(held.truth, expression=expression)))
    assert "as tracked" in score_motion(replace(setting, foretold=partly), [EmotionAccuracy]).skipped["emotion"]
    draw_confusion(found, tmp_path, "spoken")
    assert (tmp_path / "emotions_spoken.png").stat().st_size > 5000
    unlabelled = score_motion(replace(setting, held=replace(held, labels=None)), [EmotionAccuracy])
    assert unlabelled.skipped == {"emotion": "the capture has no labelled emotions"}


def test_takes_of_one_feeling_are_nearer_than_those_of_any(held, monkeypatch):
    monkeypatch.setattr(driver_samples, "TAKES", 4)
    monkeypatch.setattr(driver_samples, "whole_speech", lambda config, who, fps: config)
    answers = [DrivingSignal(torch.tensor(held.frames), pose) for pose in (held.truth, held.truth, held.tracked)]
    setting = Setting(held, Networks(), Options(), {}, foretold=Foretold(answers[0], answers))
    found = score_motion(setting, [DriverSamples])
    drawn, apart = found.metrics, found.metrics["samples/lips_mm"]
    assert drawn["samples/lve_best_mm2"] == 0 < drawn["samples/lve_mean_mm2"]
    assert apart > 0 and drawn["samples/upper_mm_any"] > drawn.get("samples/upper_mm_true", 0.0)
    alone = score_motion(replace(setting, held=replace(held, speaker=None)), [DriverSamples])
    assert "nobody knows" in alone.skipped["samples/true"] and alone.metrics["samples/lips_mm"] == apart


def test_the_classifier_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(labelled_takes, "cache_root", lambda: tmp_path)
    monkeypatch.setattr(labelled_takes, "whole_speech", lambda config, who, fps: replace(config, seconds=20.0))
    first = labelled_takes.emotion_classifier(0)
    monkeypatch.setattr(labelled_takes, "labelled_features", lambda takes: pytest.fail("it was there"))
    assert np.array_equal(labelled_takes.emotion_classifier(0).weights, first.weights)
