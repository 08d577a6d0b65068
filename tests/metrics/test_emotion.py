"""A closed-form classifier of phrases, on what is told apart by hand."""

import numpy as np

from talkingavatar.metrics.emotion import PEAK, EmotionClassifier, confusion, phrase_features

RNG = np.random.default_rng(3)


def test_a_phrase_is_its_means_and_peaks():
    units = np.zeros((100, 17))
    units[:, 4], units[90:, 8] = 2.0, 5.0
    found = phrase_features(units)
    assert found.shape == (34,) and found[4] == found[17 + 4] == 2
    assert found[8] == 0.5 and found[17 + 8] == np.percentile(units[:, 8], PEAK) == 5


def test_what_differs_by_a_feature_is_told_apart_and_nothing_else():
    labels = RNG.integers(0, 3, 300)
    features = RNG.normal(size=(300, 6))
    features[:, 0] += 6 * (labels == 1)
    features[:, 3] += 6 * (labels == 2)
    classifier = EmotionClassifier.fitted(features[:200], labels[:200], 3)
    assert (classifier.told(features[200:]) == labels[200:]).mean() > 0.97
    scaled = EmotionClassifier.fitted(1e3 * features[:200] - 7, labels[:200], 3)
    assert np.array_equal(scaled.told(1e3 * features[200:] - 7), classifier.told(features[200:])), "whatever the units"
    blind = EmotionClassifier.fitted(features[:, 4:], labels, 3)
    assert (blind.told(features[:, 4:]) == labels).mean() < 0.55


def test_the_confusion_counts_phrases():
    table = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
