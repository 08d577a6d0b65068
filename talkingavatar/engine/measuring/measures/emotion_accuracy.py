"""Whether the face shows what is felt: emotions of held-out phrases, told from its action units."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from talkingavatar.body.action_units import NamedFace, is_named
from talkingavatar.config.emotions import EMOTIONS
from talkingavatar.engine.measuring.labelled_takes import emotion_classifier, phrases_of
from talkingavatar.engine.measuring.measure import Findings, Measure, Picture, Setting
from talkingavatar.engine.measuring.measures.face_motion import UNNAMED
from talkingavatar.metrics.emotion import EmotionClassifier, confusion, phrase_features
from talkingavatar.types import Batch, BodyPose, DrivingSignal

UNLABELLED = "the capture has no labelled emotions"
PARTLY = "a part of the face is as tracked, which tells the emotion: foretell all of it"
CONFUSION = "emotion_confusion"  # table: how many phrases of each emotion (rows) are told as each


class EmotionAccuracy(Measure):
    """Of the pose that drives, phrase by phrase; beside it what the same classifier makes of the true face."""

    version = 2
    keys = ("emotion",)
    needs = ("frames", "driving")
    definitions: ClassVar = {
        "emotion": "emotion of each held-out phrase, told from mean and peak of the face's action units by linear "
        "discriminants fitted to true faces of embedded speakers in other takes. accuracy: share that is right (chance "
        "is one in eight); ceiling: the same of the true face, or the tracked one where that is not known; phrases: "
        "how many there are; heard: share that a linear probe tells from the sound alone",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.poses: list[BodyPose] = []

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        self.poses.append(signal.pose)

    def finish(self, found: Findings, truth: Findings) -> Findings:
        held = self.held
        if held.labels is None:
            return Findings(skipped={"emotion": UNLABELLED})
        if not is_named(held.body.expression_names):
            return Findings(skipped={"emotion": UNNAMED})
        foretold = self.setting.foretold
        if foretold is not None and foretold.share(held.tracked) < 1:
            return Findings(skipped={"emotion": PARTLY})
        self.phrases = phrases_of(held.labels, held.shots, held.fps)
        if not self.phrases:
            return Findings(skipped={"emotion": "no phrase is held out whole"})
        classifier = emotion_classifier(None if held.speaker is None else held.speaker.seed)
        ours, true = (self._told(classifier, pose) for pose in (BodyPose.cat(self.poses), held.pose))
        numbers = {"accuracy": _right(ours), "ceiling": _right(true), "phrases": float(len(self.phrases))}
        heard = None if held.data is None else held.data.capture.manifest.provenance.get("emotion_heard")
        numbers |= {"heard": float(heard)} if isinstance(heard, int | float) else {}
        return Findings({f"emotion/{name}": value for name, value in numbers.items()}, tables={CONFUSION: ours})

    def _told(self, classifier: EmotionClassifier, pose: BodyPose) -> Int[ndarray, "8 8"]:
        units = NamedFace(self.held.body).units(pose)
        features = np.stack([phrase_features(units[phrase.start : phrase.stop]) for phrase in self.phrases])
        labels = np.array([EMOTIONS.index(phrase.emotion) for phrase in self.phrases])
        return confusion(labels, classifier.told(features), len(EMOTIONS))


def _right(table: Int[ndarray, "C C"]) -> float:
    return float(np.trace(table) / table.sum())
