import numpy as np

from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.preprocessing.landmarks.detections import keypoints
from talkingavatar.preprocessing.landmarks.hands import choose, doubt
from talkingavatar.preprocessing.landmarks.maps import BODY_25, FACE68, body_25
from talkingavatar.preprocessing.landmarks.mediapipe_worker import record
from talkingavatar.preprocessing.landmarks.source import placed

HAND = np.stack([np.linspace(0, 100, 21), np.linspace(0, 30, 21)], axis=-1).astype(np.float32)


def two_hands(frames):
    """Both sides seen alike by both detectors, the left one 300 pixels to the right; with the arms' wrists."""
    hands = np.tile(HAND, (frames, 2, 2, 1, 1))
    hands[:, 0, ..., 0] += 300
    wrists = np.zeros((frames, 2, 3), np.float32)
    wrists[:, 0, 0], wrists[..., 2] = 300, 1
    return hands, np.full((frames, 2, 2), 0.8, np.float32), wrists


def test_the_face_table_is_68_different_points():
    assert len(FACE68) == len(set(FACE68)) == 68 and min(FACE68) >= 0 and max(FACE68) < 468


def test_body_points_are_their_sources_or_their_mean():
    pose = np.random.default_rng(0).uniform(0.1, 1, (4, 33, 3)).astype(np.float32)
    body = body_25(pose)
    np.testing.assert_allclose(body[:, 4], pose[:, 16])
    np.testing.assert_allclose(body[:, 1, :2], (pose[:, 11, :2] + pose[:, 12, :2]) / 2, rtol=1e-6)
    np.testing.assert_allclose(body[:, 8, 2], np.minimum(pose[:, 23, 2], pose[:, 24, 2]))
    small_toes = [20, 23]
    assert set(range(25)) - set(BODY_25) == set(small_toes)
    assert np.isnan(body[:, small_toes, :2]).all() and (body[:, small_toes, 2] == 0).all()


def test_the_persons_sides_are_kept():
    """Right parts come from right parts: BODY_25 mirrored is the pose mirrored."""
    mirror = {2: 5, 3: 6, 4: 7, 9: 12, 10: 13, 11: 14, 15: 16, 17: 18, 22: 19, 24: 21}
    swap = {11: 12, 13: 14, 15: 16, 23: 24, 25: 26, 27: 28, 2: 5, 7: 8, 29: 30, 31: 32}
    swap |= {b: a for a, b in swap.items()}
    assert all(BODY_25[left] == tuple(swap[i] for i in BODY_25[right]) for right, left in mirror.items())


def test_the_detector_is_believed_before_the_follower():
    hands, scores, wrists = two_hands(3)
    hands[:, :, 0] += 40  # the holistic graph puts them elsewhere
    chosen = choose(hands, scores, wrists)
    np.testing.assert_allclose(chosen[..., :2], hands[:, :, 1])
    scores[1, 0, 1] = 0  # the detector lost one: the follower's word, at less confidence
    chosen = choose(hands, scores, wrists)
    np.testing.assert_allclose(chosen[1, 0, :, :2], hands[1, 0, 0])
    assert 0 < chosen[1, 0, 0, 2] < chosen[0, 0, 0, 2]


def test_unseen_and_stray_hands_are_gaps():
    hands, scores, wrists = two_hands(4)
    scores[0, 0] = 0
    hands[2, 1] += 400  # far from its arm
    chosen = choose(hands, scores, wrists)
    gone = np.isnan(chosen[..., 0]).all(axis=2)
    assert gone[0, 0] and gone[2, 1] and gone.sum() == 2
    assert (chosen[..., 2][gone] == 0).all() and (chosen[..., 2][~gone] > 0).all()


def test_one_hand_given_for_both_sides_belongs_to_the_nearer_arm():
    hands, scores, wrists = two_hands(5)
    wrists[:, 0, 0] = 50  # arms close together
    hands[:, 0] = hands[:, 1]
    scores[..., 0] = 0
    chosen = choose(hands, scores, wrists)
    assert np.isnan(chosen[:, 0, :, 0]).all() and np.isfinite(chosen[:, 1, :, 0]).all()


def test_a_jump_is_dropped_and_steady_motion_kept():
    hands, scores, wrists = two_hands(9)
    seen = choose(hands, scores, wrists)
    seen[..., 0] += 25 * np.arange(9, dtype=np.float32)[:, None, None]  # fast, but steady
    np.testing.assert_allclose(doubt(seen), seen, rtol=1e-5)
    seen[4, 0, :, :2] += 90
    judged = doubt(seen)
    assert np.isnan(judged[4, 0, :, 0]).all() and (judged[4, 0, :, 2] == 0).all()
    kept = np.ones((9, 2), bool)
    kept[4, 0] = False
    np.testing.assert_array_equal(judged[kept][..., :2], seen[kept][..., :2])
    assert (judged[..., 2] <= seen[..., 2]).all()


def test_records_become_keypoints():
    records = np.zeros(2, record(4, 4))
    records["mesh"][0] = np.arange(478)[:, None] * [1, 2]
    records["mesh_score"][0] = 1
    records["pose"][0] = [30, 40, 0.9]
    records["pose"][0, 16] = [300, 40, 0.4]  # outside the picture
    records["faces"][0, :3] = [[0, 0, 40, 40, 0.9], [50, 0, 70, 20, 0.8], [80, 0, 85, 5, 0.8]]
    found = keypoints(records, [(0, 2)], 200, 100)
    np.testing.assert_array_equal(found.face68()[0, :, 0], FACE68)
    assert found.faces.tolist() == [2, 0]  # the third is far behind
    np.testing.assert_allclose(found.points[0, 7], [30, 40, 0.9])
    assert np.isnan(found.points[0, 4, :2]).all() and found.points[0, 4, 2] == 0
    assert np.isnan(found.points[1, ..., :2]).all() and (found.points[1, ..., 2] == 0).all()


def test_points_move_with_the_picture_and_gaps_stay_gaps(tmp_path):
    points = np.full((1, 135, 3), np.nan, np.float32)
    points[..., 2] = 0
    points[0, 0] = [10, 20, 0.7]
    given = Keypoints(points, points[:, :2], np.full((1, 478, 3), np.nan, np.float32), np.array([1]))
    moved = placed(given, (0.5, 0.25, 3.0, 4.0))
    np.testing.assert_allclose(moved.points[0, 0], [8, 9, 0.7])
    assert np.isnan(moved.points[0, 1:, :2]).all() and (moved.points[0, 1:, 2] == 0).all()
    moved.save(tmp_path / "keypoints.npz")
    np.testing.assert_array_equal(Keypoints.load(tmp_path / "keypoints.npz").points, moved.points)
