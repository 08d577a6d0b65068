import numpy as np
import pytest

from talkingavatar.audio.speech import load_speech
from talkingavatar.data.speaker.body_motion import perform
from talkingavatar.data.speaker.tracker import noisy_landmarks, track

FPS, FRAMES = 25, 1000
NAMES = ["browInnerUp", "eyeBlinkLeft", "eyeBlinkRight", "mouthPucker", "mouthFunnel", "mouthClose"]
NAMES += ["mouthRollLower", "mouthSmileLeft", "tongueOut", "jawOpen"]
JAW, WRISTS, FINGERS, BODY = 22, [20, 21], slice(25, 55), [0, 3, 6, 9, 16, 17, 18, 19]


@pytest.fixture(scope="module")
def true():
    performance = perform(load_speech("ben").excerpt(0, FRAMES / FPS), FRAMES, FPS, seed=1)
    return {
        "betas": np.linspace(-1, 1, 10),
        "full_pose": performance.full_pose,
        "transl": performance.transl,
        "expression": performance.expression_matrix(NAMES),
    }


@pytest.fixture(scope="module")
def still():
    return {
        "betas": np.zeros(10),
        "full_pose": np.full((FRAMES, 55, 3), 0.1),
        "transl": np.zeros((FRAMES, 3)),
        "expression": np.full((FRAMES, len(NAMES)), 0.5),
    }


def tracked(true, **options):
    return track(**true, names=NAMES, fps=FPS, seed=options.pop("seed", 0), **options)


def column(rows, name):
    return rows[:, NAMES.index(name)]


def test_a_perfect_tracker_tells_the_truth(true):
    told = tracked(true, quality=0)
    for name, value in true.items():
        np.testing.assert_allclose(getattr(told, name), value, atol=1e-6)


def test_same_seed_same_bytes(true):
    one, same, other = tracked(true), tracked(true), tracked(true, seed=1)
    assert one.full_pose.tobytes() == same.full_pose.tobytes()
    assert one.expression.tobytes() == same.expression.tobytes()
    assert np.abs(one.full_pose - other.full_pose).max() > 0.01


def test_noise_has_the_stated_size_and_zero_mean(still):
    error = np.rad2deg(tracked(still).full_pose - still["full_pose"])
    assert np.std(error[:, BODY]) == pytest.approx(0.08, rel=0.1)
    assert np.std(error[:, WRISTS]) == pytest.approx(1.2, rel=0.1)
    assert np.std(error[:, FINGERS, 2]) == pytest.approx(3.0, rel=0.1)
    # A mean of 1000 samples that are worth about 200: 4 standard errors of the largest noise.
    assert np.abs(error[:, FINGERS, 2].mean(0)).max() < 4 * 3.0 / np.sqrt(200)
    assert np.abs(error[:, FINGERS, 2].mean()) < 4 * 3.0 / np.sqrt(200 * 30)
    assert np.std(tracked(still).transl[:, 0]) == pytest.approx(0.0004, rel=0.2)
    assert np.std(column(tracked(still).expression, "browInnerUp")) == pytest.approx(0.03, rel=0.2)


def test_noise_is_correlated_but_not_for_long(still):
    error = (tracked(still).full_pose - still["full_pose"])[:, FINGERS]

    def correlation(lag):
        return (error[lag:] * error[:-lag]).mean() / (error**2).mean()

    assert correlation(1) > 0.7
    assert abs(correlation(15)) < 0.05


def test_noise_scales_with_quality(still):
    half, full = (np.std(tracked(still, quality=q).full_pose[:, FINGERS]) for q in (0.5, 1.0))
    assert half == pytest.approx(0.5 * full, rel=1e-3)


def test_a_ramp_is_told_half_a_frame_late(still):
    ramp = {**still, "transl": np.arange(FRAMES)[:, None] * [1.0, 0.0, 0.0]}
    late = (ramp["transl"] - tracked(ramp).transl)[50:, 0]
    np.testing.assert_allclose(late, 0.5, atol=0.01)
    # Slow motion is hardly touched: nothing of it is lost in a pose that is held.
    np.testing.assert_allclose(tracked(still).full_pose[:, BODY].mean(0), 0.1, atol=0.005)


def test_lip_detail_is_missing(true):
    told = tracked(true)
    for name in ("mouthPucker", "mouthFunnel", "mouthClose", "mouthRollLower", "tongueOut"):
        clean, dull = column(true["expression"], name), column(told.expression, name)
        share = np.polyfit(clean, dull, 1)[0]
        assert share < 0.25, name
    jaw, dull = true["full_pose"][:, JAW, 0], told.full_pose[:, JAW, 0]
    assert 0.3 < np.polyfit(jaw, dull, 1)[0] < 0.6
    assert np.corrcoef(jaw, dull)[0, 1] > 0.7  # the coarse opening is there
    brow = column(true["expression"], "browInnerUp")
    assert np.polyfit(brow, column(told.expression, "browInnerUp"), 1)[0] > 0.9
    smile = column(true["expression"], "mouthSmileLeft")
    assert np.polyfit(smile, column(told.expression, "mouthSmileLeft"), 1)[0] > 0.5


def test_hands_are_noisy_but_not_biased(true):
    error = np.rad2deg(tracked(true).full_pose - true["full_pose"])[:, FINGERS]
    assert error.std() > 10 * abs(error.mean())


def test_some_blinks_are_missed(true):
    clean, told = column(true["expression"], "eyeBlinkLeft"), column(tracked(true).expression, "eyeBlinkLeft")
    blinks = [i for i in range(2, FRAMES - 3) if clean[i] > 0.7 and clean[i] == clean[i - 2 : i + 3].max()]
    seen = np.array([told[i : i + 3].max() for i in blinks])
    assert len(blinks) >= 8
    assert 0 < (seen < 0.45).sum() < 0.6 * len(blinks)
    assert (seen > 0.5).any()


def test_betas_are_off_by_little_in_every_frame_alike(true):
    told = tracked(true).betas
    assert told.shape == (10,)
    assert 0 < np.abs(told - true["betas"]).max() < 0.4


def test_landmarks_err_most_where_they_are_unsure():
    points = np.random.default_rng(0).uniform(0, 100, (400, 68, 2))
    points[:, 0, 1], points[:, 1, 1] = 0, 100  # the face is 100 px high
    told = noisy_landmarks(points, fps=FPS, seed=0)
    error = np.linalg.norm(told[..., :2] - points, axis=-1)
    confidence = told[..., 2]
    assert confidence.min() > 0 and confidence.max() <= 1
    assert 0.4 < np.median(error[:, 17:]) < 1.2
    sure = confidence > np.median(confidence)
    assert error[sure].mean() < 0.7 * error[~sure].mean()
    np.testing.assert_allclose(noisy_landmarks(points, fps=FPS, seed=0, quality=0)[..., :2], points, atol=1e-4)
