"""Phrases whose emotion is labelled: of a capture, and the true faces of the embedded speakers' other takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.action_units import NamedFace
from talkingavatar.body.models import load_body
from talkingavatar.config.emotions import EMOTIONS, chosen_emotions
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.capture import Capture, Model
from talkingavatar.data.motion_clips import whole_speech
from talkingavatar.data.speaker.identity import IDENTITIES
from talkingavatar.data.speaker.record import SCRIPT_VERSION, SPEAKER_VERSION, recording_of
from talkingavatar.data.speaker.script import said
from talkingavatar.metrics.emotion import EmotionClassifier, phrase_features
from talkingavatar.paths import cache_root
from talkingavatar.runtime.arrays import read_npz
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.files import folder_for, whole
from talkingavatar.runtime.readers import healed
from talkingavatar.types import BodyPose

FPS = 25
SHORTEST = 0.8  # seconds: what is left of a phrase where the frames are cut says less than that
LEARNED_FROM = (101, 102, 103)  # seeds of takes; two of them that are not the measured one's


@dataclass(frozen=True)
class Phrase:
    """Frames `start` to `stop`, said with an emotion."""

    start: int
    stop: int
    emotion: str
    strength: float = 1.0


@dataclass(frozen=True)
class Take:
    """An embedded speaker's true motion, and all phrases that lie in it."""

    pose: BodyPose
    phrases: list[Phrase]


def capture_labels(capture: Capture) -> Float[ndarray, "T 8"] | None:
    """Share of each of `EMOTIONS` that a frame is labelled with; None where none is, or others."""
    table = capture.table("emotion")
    if table is None or not set(table.names) <= set(EMOTIONS):
        return None
    labels = np.zeros((len(table.values), len(EMOTIONS)))
    labels[:, [EMOTIONS.index(name) for name in table.names]] = table.values / table.scale
    return labels


def is_labelled(config: DataConfig) -> bool:
    """Whether it is an embedded speaker who feels something."""
    return config.name == "speaker" and bool(chosen_emotions(config.emotions))


def speaker_labels(config: DataConfig, fps: float) -> Float[ndarray, "T 8"] | None:
    """The same, of an embedded speaker of whom there are no pictures."""
    if not is_labelled(config):
        return None
    recording = recording_of(config, fps)
    assert recording.feelings is not None
    return recording.feelings(np.arange(recording.frames) / fps).labels


def phrases_of(labels: Float[ndarray, "T 8"], shots: Sequence[tuple[int, int]], fps: float) -> list[Phrase]:
    """Stretches of a shot with one label; without what is too short to tell anything."""
    found = []
    for first, last in shots:
        changes = 1 + np.flatnonzero((np.diff(labels[first:last], axis=0) != 0).any(1))
        for start, stop in pairwise([first, *(first + changes).tolist(), last]):
            felt = labels[start, 1:]
            strength = float(felt.max())
            emotion = EMOTIONS[1 + int(felt.argmax())] if strength > 0 else EMOTIONS[0]
            if stop - start >= SHORTEST * fps:
                found.append(Phrase(start, stop, emotion, strength))
    return found


def true_take(config: DataConfig, model: Model, fps: float) -> Take:
    """An embedded speaker's, without pictures.

    Raises:
        UserError: the speech is shorter than the clip.
    """
    recording = recording_of(config, fps)
    places = [(round(felt.start * fps), round(felt.end * fps), felt) for felt in said(config).felt]
    whole_ones = [Phrase(a, b, felt.emotion, felt.strength) for a, b, felt in places if b <= recording.frames]
    return Take(recording.parameters(model, truth=True).pose(), whole_ones)


def emotion_classifier(seed: int | None) -> EmotionClassifier:
    """Fitted to true faces of all embedded speakers, in two takes that are not of this seed; kept in the cache."""
    everyone = range(len(IDENTITIES))
    seeds = [other for other in LEARNED_FROM if other != seed][:2]
    told = json.dumps([SPEAKER_VERSION, SCRIPT_VERSION, len(everyone), seeds, load_body("open").checksum])
    folder = folder_for(cache_root() / "evaluation", "cache", "set $TALKINGAVATAR_CACHE")
    file = folder / f"phrases-{hashlib.sha256(told.encode()).hexdigest()[:16]}.npz"
    action = "remove it: it is made anew"
    known = healed(lambda: read_npz(file, ("features", "labels"), action), None, warn) if file.exists() else None
    if known is None:
        base = DataConfig(emotions="all")
        known = labelled_features(
            [whole_speech(replace(base, seed=other), who, FPS) for who in everyone for other in seeds]
        )
        with whole(file) as temporary:
            np.savez(temporary, allow_pickle=False, **known)
    return EmotionClassifier.fitted(known["features"], known["labels"], len(EMOTIONS))


def labelled_features(takes: Sequence[DataConfig]) -> dict[str, ndarray]:
    """`features` (N,34) and `labels` (N,) of all phrases of embedded speakers' true faces."""
    face = NamedFace(load_body("open"))
    features, labels = [], []
    for config in takes:
        take = true_take(config, "smplx", FPS)
        units = face.units(take.pose)
        features += [phrase_features(units[phrase.start : phrase.stop]) for phrase in take.phrases]
        labels += [EMOTIONS.index(phrase.emotion) for phrase in take.phrases]
    return {"features": np.stack(features), "labels": np.array(labels)}
