"""The fit against a performance that is known, seen with a detector's noise."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.alignment.align import AlignmentOptions, align
from talkingavatar.preprocessing.alignment.priors import expression_prior, pose_prior
from talkingavatar.preprocessing.alignment.start import triples
from talkingavatar.preprocessing.alignment.variables import share_opening
from talkingavatar.preprocessing.keypoints import LEFT_HAND
from talkingavatar.types import BodyPose
from tests.preprocessing.performances import FOCAL, FPS, SIZE, hide, seen_performance
from tests.preprocessing.stills import quietly

FRAMES = 24
GAP = slice(9, 15)
QUICK = AlignmentOptions(focal=FOCAL, place_steps=60, vanilla_steps=120, motion_steps=250)


@pytest.fixture(scope="module")
def body(cache):
    return load_body("open")


@pytest.fixture(scope="module")
def seen(body):
    """The left hand is lost for a quarter of a second."""
    made = seen_performance(body, FRAMES)
    hide(made.keypoints, GAP, LEFT_HAND)
    return made


def fit(keypoints, body, shots=None, options=QUICK, progress=quietly, folder=None):
    return align(keypoints, shots or [(0, len(keypoints))], FPS, SIZE, SIZE, body, options, progress, folder)


@pytest.fixture(scope="module")
def fitted(seen, body):
    return fit(seen.keypoints, body)


def before_camera(joints, viewmat):
    return joints @ viewmat[:3, :3].T + viewmat[:3, 3]


def test_the_performance_is_found_again(seen, body, fitted):
    with torch.no_grad():
        vertices, joints = body(fitted.pose)
    names = body.joint_names
    neck = names.index("neck")
    found, true = (j - j[:, [neck]] for j in (joints, seen.joints))
    error = (found - true).norm(dim=-1).mean(0)  # relative to the neck, metres
    assert error[[names.index(n) for n in ("head", "left_shoulder", "right_shoulder")]].max() < 0.025
    assert error[[names.index(n) for n in ("left_elbow", "right_elbow")]].max() < 0.06
    assert error[[names.index(n) for n in ("left_wrist", "right_wrist", "left_index2", "right_index2")]].max() < 0.07
    place = before_camera(joints[:, neck], fitted.viewmat)
    assert (place[:, 2] / place[:, 2].mean() - 1).abs().max() < 0.02
    lips = [mark[:, 62] - mark[:, 66] for mark in (body.landmarks(vertices), body.landmarks(body(seen.true)[0]))]
    opening = [lip.norm(dim=-1).numpy() for lip in lips]
    assert np.corrcoef(opening)[0, 1] > 0.95


def test_distances_fall_from_stage_to_stage(fitted):
    first, last = fitted.distances["vanilla"], fitted.distances["+FMA"]
    assert last.hand < 2.0 and last.body < 4.0 and last.face < 0.6 and last.lips < 0.6
    assert last.face < first.face


def test_the_camera_sees_what_was_reported(body, fitted):
    """K, viewmat and pose reproduce the keypoints up to the calibration."""
    with torch.no_grad():
        vertices, _ = body(fitted.pose)
    marks = before_camera(body.landmarks(vertices), fitted.viewmat) @ fitted.K.T
    inner = (marks[..., :2] / marks[..., 2:])[:, 17:]
    pixels_per_metre = fitted.K[0, 0] / marks[..., 2].mean()
    apart = (inner - fitted.keypoints[:, 67:118]).norm(dim=-1).mean(0)
    moved = share_opening(fitted.offsets)[67:118].norm(dim=-1) * pixels_per_metre
    assert (apart <= moved * 1.1 + 0.01).all()
    assert fitted.pose.transl.mean(0).norm() < 1e-5


def test_a_gap_stays_quiet(seen, body, fitted):
    """A lost hand neither jumps nor flies off; the wrist goes on as the arm says."""
    with torch.no_grad():
        _, joints = body(fitted.pose)
    hand = [body.joint_names.index(f"left_{f}2") for f in ("index", "middle", "ring", "pinky")]
    relative = joints[:, hand] - joints[:, [body.joint_names.index("left_wrist")]]
    true = seen.joints[:, hand] - seen.joints[:, [body.joint_names.index("left_wrist")]]
    speed = (relative[1:] - relative[:-1]).norm(dim=-1) * FPS
    assert speed[GAP].max() < 0.6  # m/s; a hand that snaps to another pose in one frame makes 2 and more
    assert (relative - true)[GAP].norm(dim=-1).mean() < 0.05


def test_actions_stay_between_none_and_full(fitted):
    assert fitted.pose.expression.min() >= 0 and fitted.pose.expression.max() <= 1
    assert fitted.pose.expression.max() > 0.1


def test_nothing_is_smoothed_across_a_cut(body):
    """Two takes at places a hand's breadth apart, hands elsewhere: each is found where it is."""
    first, second = (seen_performance(body, 10, shift=(x, -0.45, 0.0), start=s) for x, s in ((0.0, 0.5), (0.12, 2.0)))
    points = [getattr(take.keypoints, f.name) for f in fields(first.keypoints) for take in (first, second)]
    both = type(first.keypoints)(*(np.concatenate(points[i : i + 2]) for i in range(0, len(points), 2)))

    def missed(shots):
        """Pixels between fitted and seen chins beside the cut."""
        found = fit(both, body, shots).keypoints[9:11, 126].numpy()
        return np.linalg.norm(found - both.points[9:11, 126, :2], axis=-1).max()

    assert missed([(0, 10), (10, 20)]) < 1.5
    assert missed([(0, 20)]) > 5  # the same clip taken for one shot


def test_triples_lie_in_one_shot():
    assert triples([(0, 4), (4, 6), (6, 9)]).tolist() == [1, 2, 7]


def test_unseen_limbs_rest(body):
    """Head and shoulders only: arms hang, legs stand, and nothing moves that is not seen."""
    made = seen_performance(body, 12)
    hide(made.keypoints, slice(None), [3, 4, 6, 7, *range(8, 15), *range(19, 67)])
    pose = fit(made.keypoints, body).pose.full_pose
    names = body.joint_names
    unseen = [
        j for j, n in enumerate(names) if any(w in n for w in ("elbow", "wrist", "hip", "knee", "ankle", "index"))
    ]
    rest = pose_prior(names, {"left": False, "right": False}, False).rest
    assert (pose[:, unseen] - rest[unseen]).abs().max() < np.radians(4)
    assert (pose[1:, unseen] - pose[:-1, unseen]).abs().max() < np.radians(1)  # per frame


def test_a_head_is_fitted_by_its_face(seen, body):
    head = load_body("open_flame")
    found = fit(seen.keypoints, head)
    assert found.pose.full_pose.shape == (FRAMES, 5, 3)
    assert found.distances["+FMA"].face < 0.6
    assert np.isnan(found.distances["+FMA"].hand) and np.isnan(found.distances["+FMA"].body)
    jaw, true = found.pose.full_pose[:, 2, 0], seen.true.full_pose[:, body.joint_names.index("jaw"), 0]
    assert np.corrcoef(jaw, true)[0, 1] > 0.8


class Interrupted(Exception):
    pass


def test_an_interrupted_fit_goes_on_and_ends_the_same(seen, body, tmp_path):
    options = AlignmentOptions(focal=FOCAL, place_steps=5, vanilla_steps=6, motion_steps=8)
    plain = fit(seen.keypoints, body, options=options)
    begun = []

    def stopping(title, total):
        begun.append(title)
        steps = iter(range(total))

        def tick():
            if "motion" in title and next(steps) == 3:
                raise Interrupted

        return tick

    with pytest.raises(Interrupted):
        fit(seen.keypoints, body, options=options, progress=stopping, folder=tmp_path)
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == ["place.npz", "vanilla.npz"]
    again = []
    resumed = fit(seen.keypoints, body, options=options, folder=tmp_path,
                  progress=lambda title, total: (again.append(title), quietly(title, total))[1])  # fmt: skip
    assert begun == ["align: place", "align: vanilla", "align: motion"] and again == ["align: motion"]
    for f in fields(BodyPose):
        assert torch.equal(getattr(plain.pose, f.name), getattr(resumed.pose, f.name))
    assert torch.equal(plain.viewmat, resumed.viewmat) and plain.distances == resumed.distances
    fit(seen.keypoints, body, options=AlignmentOptions(place_steps=4, vanilla_steps=6, motion_steps=8),
        folder=tmp_path, progress=lambda title, total: (again.append(title), quietly(title, total))[1])  # fmt: skip
    assert again[1:] == begun  # other options: nothing kept is used


def test_a_clip_of_nobody_is_refused(body):
    made = seen_performance(body, 3)
    hide(made.keypoints, slice(None), slice(None))
    with pytest.raises(UserError, match="no frame"):
        fit(made.keypoints, body)


def test_limits_bend_limbs_one_way():
    names = load_body("open").joint_names
    prior = pose_prior(names, {"left": True, "right": True}, False)
    rest = prior.rest[None].clone()
    for side, sign in (("left", -1), ("right", 1)):
        bent, over = rest.clone(), rest.clone()
        elbow = names.index(f"{side}_elbow")
        bent[0, elbow, 1] = rest[0, elbow, 1] + sign * 0.5
        over[0, elbow, 1] = -sign * 0.2  # the other way
        assert prior.cost(over) - prior.cost(rest) > 20 > prior.cost(bent) - prior.cost(rest)


def test_licensed_expressions_are_free():
    prior = expression_prior([f"expression_{i}" for i in range(4)])
    values = torch.tensor([[-2.0, 0.0, 1.0, 3.0]])
    prior.clamp_(values)
    assert values.min() == -2 and prior.free.all()
    waving = torch.cat([values, -values])  # no mean
    assert prior.cost(waving).item() == pytest.approx(14)
    assert prior.cost(values.expand(2, -1)) > 100
    actions = expression_prior(["browInnerUp", "jawOpen", "mouthSmileLeft"])
    assert actions.free.tolist() == [True, False, True]


def test_calibration_cannot_part_the_lips():
    offsets = torch.randn(137, 3, generator=torch.Generator().manual_seed(0))
    shared = share_opening(offsets)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        assert torch.equal(shared[50 + upper], shared[50 + lower])
    assert torch.equal(shared[:67], offsets[:67])
