"""How much of what is felt can be heard: the least that a driver from sound has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from talkingavatar.audio.features import RATE, audio_features
from talkingavatar.config.emotions import EMOTIONS
from talkingavatar.data.speaker.script import Take

SECONDS, STEP, FPS = 2.0, 0.5, 25  # of sound that is heard at most; between two looks; features' windows a second
CENTRE = 7  # of a window's 16 steps
FOLDS = 6  # phrases are held out in so many groups
RIDGE = 3.0


def heard_emotions(takes: Sequence[Take]) -> float:
    """Share of phrases whose emotion a linear probe tells from the sound alone; chance is one in the emotions felt.

    It reads mean and deviation of 2 s of log-mel bands. A phrase is held out in every take: its words are new.

    Args:
        takes: of one speech, with other emotions in each.
    """
    windows = [_windows(take) for take in takes]
    x, phrases = (np.concatenate(parts) for parts in zip(*windows, strict=True))
    number = np.repeat(np.arange(len(takes)), [len(rows) for rows, _ in windows])
    felt = np.array([[EMOTIONS.index(phrase.emotion) for phrase in take.felt] for take in takes])
    x = np.concatenate([(x - x.mean(0)) / (x.std(0) + 1e-6), np.ones((len(x), 1))], 1)
    targets = np.eye(len(EMOTIONS))[felt[number, phrases]]
    weights = (1 / np.maximum(targets.sum(0), 1))[targets.argmax(1), None]  # labels are seldom equally many
    weights *= len(x) / len(np.unique(felt))
    said = np.zeros((*felt.shape, len(EMOTIONS)))
    for fold in range(FOLDS):
        held = phrases % FOLDS == fold
        known, weight = x[~held], weights[~held]
        gram = known.T @ (weight * known) + RIDGE * np.eye(x.shape[1])
        solved = np.linalg.solve(gram, known.T @ (weight * targets[~held]))
        np.add.at(said, (number[held], phrases[held]), x[held] @ solved)
    return float((said.argmax(2) == felt).mean())


def _windows(take: Take) -> tuple[Float[ndarray, "W F"], Int[ndarray, " W"]]:
    """Statistics of stretches of sound, each within a phrase, and the phrases' numbers."""
    frames = round(take.speech.duration * FPS)
    bands = audio_features(take.speech.samples, RATE, FPS, frames)[:, CENTRE]
    statistics, phrases = [], []
    for number, felt in enumerate(take.felt):
        first, last = round(felt.start * FPS), round(felt.end * FPS)
        length = min(round(SECONDS * FPS), last - first)
        for start in range(first, last - length + 1, round(STEP * FPS)):
            part = bands[start : start + length]
            statistics.append(np.concatenate([part.mean(0), part.std(0)]))
            phrases.append(number)
    return np.stack(statistics), np.array(phrases)
