import numpy as np
import pytest

from talkingavatar.audio.speech import Phoneme, Speech, load_speech
from talkingavatar.data.speaker import gestures, visemes
from talkingavatar.data.speaker.body_motion import FEELINGS, STYLES, perform, thin

FPS, SECONDS = 25, 24
EYES, JAW = [23, 24], 22
# An ordinary adult in SMPL-X's rest pose, metres: enough skeleton to see where the hands are.
SHOULDER, UPPER_ARM, FOREARM, HAND = np.array([0.18, 0.0, 0.0]), 0.27, 0.25, 0.10


@pytest.fixture(scope="module")
def speech():
    return load_speech("ada").excerpt(0, SECONDS)


@pytest.fixture(scope="module", params=sorted(STYLES))
def performance(request, speech):
    return perform(speech, SECONDS * FPS, FPS, seed=3, style=STYLES[request.param])


def hands(performance):
    """Wrists and knuckles (T, 2, 2, 3) relative to the middle of the shoulders."""
    from scipy.spatial.transform import Rotation

    points = []
    for side, sign in ((0, 1.0), (1, -1.0)):
        axis = np.array([sign, 0.0, 0.0])
        shoulder, elbow, wrist = (
            Rotation.from_rotvec(performance.full_pose[:, joint + side]) for joint in (16, 18, 20)
        )
        at = SHOULDER * [sign, 1, 1] + shoulder.apply(UPPER_ARM * axis)
        at = at + (shoulder * elbow).apply(FOREARM * axis)
        points.append(np.stack([at, at + (shoulder * elbow * wrist).apply(HAND * axis)], 1))
    return np.stack(points, 1)


def test_shapes_ranges_and_names(performance):
    frames = SECONDS * FPS
    assert performance.full_pose.shape == (frames, 55, 3)
    assert performance.transl.shape == (frames, 3)
    for values in performance.expression.values():
        assert values.shape == (frames,) and values.min() >= 0 and values.max() <= 1
    names = ["jawOpen", "mouthClose"]
    matrix = performance.expression_matrix(names)
    np.testing.assert_array_equal(matrix[:, 0], 0)
    np.testing.assert_array_equal(matrix[:, 1], performance.expression["mouthClose"])


def test_same_seed_same_bytes_other_seed_other_motion(speech):
    one, same, other = (perform(speech, 100, FPS, seed, STYLES["dry"]) for seed in (5, 5, 6))
    assert one.full_pose.tobytes() == same.full_pose.tobytes()
    assert all(one.expression[name].tobytes() == same.expression[name].tobytes() for name in one.expression)
    assert np.abs(one.full_pose - other.full_pose).max() > 0.05
    np.testing.assert_allclose(one.full_pose[:, JAW, 0], other.full_pose[:, JAW, 0])  # the words are the same


def test_frame_rate_only_samples_the_same_motion(speech):
    slow, fast = perform(speech, 100, 25, 1), perform(speech, 200, 50, 1)
    np.testing.assert_allclose(slow.full_pose, fast.full_pose[::2], atol=1e-6)


def test_bilabials_close_the_lips(performance, speech):
    gap = visemes.lip_gap(performance.full_pose[:, JAW, 0], performance.expression)
    sounds = [p for p in speech.phonemes if p.symbol in {"p", "b", "m"} and p.end < SECONDS - 0.2]
    assert len(sounds) > 20
    for p in sounds:
        near = gap[int(np.floor(p.start * FPS)) : int(np.ceil(p.end * FPS)) + 1]
        assert near.min() < 1.0, f"{p} leaves {near.min():.1f} mm"
    open_vowels = [p for p in speech.phonemes if p.symbol in {"ɑː", "æ", "aɪ", "aʊ"} and p.end - p.start > 0.08]
    middle = [round((p.start + p.end) / 2 * FPS) for p in open_vowels if p.end < SECONDS - 0.2]
    assert np.median(gap[middle]) > 6.0


def test_labiodentals_tuck_and_rounded_vowels_round(performance, speech):
    def mean(action, symbols):
        frames = [round((p.start + p.end) / 2 * FPS) for p in speech.phonemes if p.symbol in symbols]
        return performance.expression[action][[f for f in frames if f < SECONDS * FPS]].mean()

    assert mean("mouthRollLower", {"f", "v"}) > 5 * mean("mouthRollLower", {"s", "n", "iː", "ɑː"})
    assert mean("mouthPucker", {"w", "uː", "ʊ"}) > 3 * mean("mouthPucker", {"iː", "æ", "s"})
    assert mean("mouthStretchLeft", {"iː", "i", "j"}) > 2 * mean("mouthStretchLeft", {"w", "uː", "oʊ"})
    assert mean("tongueOut", {"θ", "ð"}) > 3 * mean("tongueOut", {"w", "m", "iː"})


def test_jaw_opens_with_the_vowels(performance, speech):
    times = np.arange(SECONDS * FPS) / FPS
    openness = np.zeros(len(times))
    for p in speech.phonemes:
        if p.symbol[0] in "aeɑɒæɛʌɐɔoɜ":
            openness[(times >= p.start) & (times < p.end)] = 1.0
    jaw = performance.full_pose[:, JAW, 0]
    shifts = range(-5, 6)
    best = [np.corrcoef(jaw, np.roll(openness, s))[0, 1] for s in shifts]
    assert max(best) > 0.5
    assert abs(shifts[int(np.argmax(best))]) <= 1


def test_joint_limits(performance):
    pose = np.linalg.norm(performance.full_pose, axis=-1)
    assert performance.full_pose[:, JAW, 0].min() >= 0 and pose[:, JAW].max() < 0.3
    assert pose[:, [3, 6, 9, 12, 15]].max() < 0.25
    assert pose[:, EYES].max() < 0.6
    assert pose[:, [18, 19]].max() < 2.2
    assert pose[:, 25:55].max() < 1.3
    assert not pose[:, [1, 2, 4, 5, 7, 8, 10, 11]].any()
    assert np.abs(performance.transl).max() < 0.05


def test_hands_stay_in_front_apart_and_in_view(performance):
    points = hands(performance)
    assert points[..., 2].min() > 0.08  # before the chest
    assert (points[:, 0, :, 0] - points[:, 1, :, 0]).min() > 0.05  # the left one on the left
    assert points[..., 1].min() > -0.55 and points[..., 1].max() < 0.15
    assert np.abs(points[..., 0]).max() < 0.55
    travelled = np.linalg.norm(np.diff(points[:, :, 0], axis=0), axis=-1).sum(0)
    assert (travelled > 1.0).all()  # both of them gesture


def test_motion_is_smooth(performance):
    body = np.delete(performance.full_pose, EYES, axis=1)
    assert np.abs(np.diff(body, axis=0)).max() < 0.25  # radians a frame
    wrists = hands(performance)[:, :, 0]
    assert np.linalg.norm(np.diff(wrists, axis=0), axis=-1).max() < 0.06  # metres a frame
    assert np.linalg.norm(np.diff(wrists, 2, axis=0), axis=-1).max() < 0.03
    lids = {name: v for name, v in performance.expression.items() if not name.startswith("eye")}
    assert max(np.abs(np.diff(v)).max() for v in lids.values()) < 0.6


def test_every_feeling_is_seen_in_training_and_in_the_tail(performance):
    split = round(SECONDS * FPS * 0.8)
    telling = {
        "smile": "mouthDimpleLeft",
        "surprise": "eyeWideLeft",
        "frown": "browDownLeft",
        "puzzled": "mouthLeft",
    }
    assert set(telling) == set(FEELINGS) - {"neutral"}
    for feeling, action in telling.items():
        full = FEELINGS[feeling][action]
        values = performance.expression[action]
        assert values[:split].max() > 0.6 * full and values[split:].max() > 0.6 * full, feeling
    smile = performance.expression["mouthSmileLeft"] - performance.expression["mouthSmileRight"]
    assert smile.max() > 0.2 and smile.min() > -0.05


def test_eyes_blink_and_close(performance):
    lids = performance.expression["eyeBlinkLeft"]
    assert 3 <= (np.diff((lids > 0.5).astype(int)) == 1).sum() <= 30
    assert lids.max() > 0.8 and np.median(lids) == 0


def test_silence_keeps_the_mouth_shut():
    silence = Speech(np.zeros(32000, np.float32), 16000, (), (), "")
    still = perform(silence, 50, FPS, seed=0)
    gap = visemes.lip_gap(still.full_pose[:, JAW, 0], still.expression)
    assert still.full_pose[:, JAW, 0].max() < 0.02 and gap.max() < 1.0


def test_dominance_blends_towards_the_neighbours():
    times = np.arange(100) / 100
    loud = np.ones(100)
    alone = visemes.articulation([Phoneme("s", 0.45, 0.55)], times, loud)
    rounded = visemes.articulation([Phoneme("s", 0.45, 0.55), Phoneme("uː", 0.55, 0.7)], times, loud)
    assert rounded["pucker"][50] > alone["pucker"][50] + 0.05  # "soo" rounds its s


def test_thin_keeps_the_strongest():
    assert thin([(0.0, 0.2), (0.3, 0.9), (0.5, 0.5), (2.0, 0.1)], 0.6) == [(0.3, 0.9), (2.0, 0.1)]


def test_strokes_land_on_their_beats():
    times = np.arange(400) / 100
    arms = gestures.beat_gestures([(1.0, 1.0), (2.5, 1.0)], times, np.random.default_rng(0), 1.5)
    elbow = arms[:, 0, gestures.ARM.index("elbow")]
    for beat in (100, 250):
        assert elbow[beat - 24 : beat - 15].max() > elbow[beat : beat + 14].mean()


def test_right_arm_mirrors_the_left():
    pose = np.zeros((1, 55, 3))
    gestures.pose_arms(pose, np.stack([gestures.RESTING] * 2)[None])
    mirror = np.array([1.0, -1.0, -1.0])
    for left, right in [(16, 17), (18, 19), (20, 21), (25, 40), (37, 52)]:
        np.testing.assert_allclose(pose[0, right], pose[0, left] * mirror)
