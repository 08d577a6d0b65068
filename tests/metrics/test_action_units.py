from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from talkingavatar.body.action_units import UNITS, action_units
from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.data.speaker.parameters import BodyParameters
from talkingavatar.data.speaker.record import Pinhole, recording_of
from talkingavatar.data.speaker.tracker import noisy_landmarks
from talkingavatar.errors import UserError
from talkingavatar.metrics.action_units import AuEstimator, au_error, bounded_ridge
from talkingavatar.types import BodyPose, Cameras

RNG = np.random.default_rng(0)
SURE = ("AU01", "AU02", "AU04", "AU12", "AU25", "AU26", "AU45")  # brows, smile, jaw, blink


def certain(xy):
    return np.concatenate([xy, np.ones((*xy.shape[:2], 1))], -1)


@pytest.fixture(scope="module")
def speaker():
    """The embedded speaker, 12 s: estimator, landmarks in pixels, true actions, tracked pose, cameras."""
    recording = recording_of(compose(["data.seconds=12", "data.size=512"]).data)
    body = load_body("open")
    true = BodyParameters.true(recording.performance, recording.scene.betas, body.expression_names)
    K, viewmat = recording.scene.camera()
    marks = Pinhole(K, viewmat).project(body.landmarks(torch.from_numpy(true.posed(body)[0])).numpy())
    count = len(marks)
    parts = {name: torch.from_numpy(np.asarray(getattr(recording.tracked, name), np.float32))
             for name in ("expression", "full_pose", "transl")}  # fmt: skip
    betas = torch.from_numpy(np.asarray(recording.tracked.betas, np.float32)).expand(count, -1)
    cameras = Cameras(
        *(torch.from_numpy(np.asarray(m, np.float32)).expand(count, -1, -1) for m in (viewmat, K)), 512, 512
    )
    estimator = AuEstimator(body)
    actions = true.expression.astype(float)
    jaw = true.full_pose[:, body.joint_names.index("jaw"), 0]
    actions[:, estimator.names.index("jawOpen")] += jaw / estimator._open
    return estimator, marks, actions, BodyPose(betas, **parts), cameras


def test_actions_are_told_from_true_landmarks(speaker):
    estimator, marks, actions, pose, cameras = speaker
    found = au_error(estimator.estimate(certain(marks), pose, cameras), actions, estimator.names)
    assert min(found[f"r/{unit}"] for unit in SURE) > 0.95
    still = au_error(np.broadcast_to(actions.mean(0), actions.shape), actions, estimator.names)
    assert found["aue_lower"] < 0.5 * still["aue_lower"] and found["aue_upper"] < 0.5 * still["aue_upper"]


def test_and_from_detected_ones(speaker):
    estimator, marks, actions, pose, cameras = speaker
    seen = noisy_landmarks(marks, fps=25, seed=1, quality=1.0)
    seen[40, 17:] = np.nan
    seen[41, :, 2] = 0.1
    seen[42, 48:60] = np.nan
    estimate = estimator.estimate(seen, pose, cameras)
    assert np.isfinite(estimate[40, estimator.names.index("jawOpen")]) and np.isnan(estimate[41]).all()
    assert np.isfinite(estimate[42]).sum() == np.isfinite(estimate[43]).sum() > 40
    found = au_error(estimate, actions, estimator.names)
    assert min(found[f"r/{unit}"] for unit in SURE) > 0.85


def test_where_the_head_is_in_the_picture_does_not_matter(speaker):
    estimator, marks, _, pose, cameras = speaker
    part, few = slice(0, 60, 10), replace(cameras, viewmats=cameras.viewmats[:6], Ks=cameras.Ks[:6])
    centre = marks[part].mean((0, 1))
    turn = 1.03 * np.array([[np.cos(0.02), -np.sin(0.02)], [np.sin(0.02), np.cos(0.02)]])
    moved = (marks[part] - centre) @ turn.T + centre + (4, -3)
    before, after = (estimator.estimate(certain(m), pose[part], few) for m in (marks[part], moved))
    seen = np.isfinite(before[0])
    assert np.abs(before - after)[:, seen].max() < 0.1
    assert np.ptp(before[:, seen], axis=0).max() > 0.5


@pytest.mark.parametrize("name", ["open", "open_flame"])
@pytest.mark.parametrize("action", ["jawOpen", "browInnerUp", "mouthSmileLeft", "eyeBlinkRight", "mouthPucker"])
def test_one_planted_action_is_the_one_found(name, action):
    body = load_body(name)
    estimator = AuEstimator(body)
    K, viewmat = torch.tensor([[900.0, 0, 256], [0, 900, 256], [0, 0, 1]]), torch.diag(torch.tensor([1.0, -1, -1, 1]))
    pose = body.zero_pose(2)
    head = body.landmarks(body.v_template[None])[0].mean(0)
    viewmat[:3, 3] = torch.tensor([0.0, 0.0, 0.7]) - viewmat[:3, :3] @ head
    if action == "jawOpen":
        pose.full_pose[1, body.joint_names.index("jaw"), 0] = 0.6 * estimator._open
    else:
        pose.expression[1, estimator.names.index(action)] = 0.6
    marks = Pinhole(K.double().numpy(), viewmat.double().numpy()).project(
        body.landmarks(body(pose)[0]).double().numpy()
    )
    cameras = Cameras(viewmat.expand(2, 4, 4), K.expand(2, 3, 3), 512, 512)
    neutral, acted = estimator.estimate(certain(marks), pose, cameras)
    assert np.nanmax(np.abs(neutral)) < 0.01
    assert np.nanargmax(acted) == estimator.names.index(action)
    assert acted[estimator.names.index(action)] == pytest.approx(0.6, abs=0.2)
    assert np.isnan(acted[estimator.names.index("tongueOut")])  # no landmark shows it


def test_the_descent_is_scipys_bounded_optimum():
    design, target = RNG.normal(size=(3, 7, 30)), RNG.normal(size=(3, 30)) * 2
    ridge, low, high = np.full(7, 0.5), np.array([0.0] * 5 + [-np.inf] * 2), np.array([0.2] * 5 + [np.inf] * 2)
    for i, solved in enumerate(bounded_ridge(design, target, ridge, low, high)):
        rows = np.concatenate([design[i].T, np.diag(np.sqrt(ridge))])
        reference = lsq_linear(rows, np.concatenate([target[i], np.zeros(7)]), (low, high), tol=1e-12).x
        assert solved == pytest.approx(reference, abs=1e-5)


def test_errors_in_closed_form():
    names = sorted({name for unit in UNITS.values() for name in unit.actions})
    a = RNG.uniform(0.3, 0.6, (50, len(names)))
    b = a.copy()
    b[:, names.index("jawOpen")] += 0.2  # one of intensity 0 to 5; lips are parted fully in both
    b[:, names.index("mouthSmileLeft")] += 0.2  # half of AU 12
    b[:, names.index("eyeBlinkLeft")] -= 0.2
    found = au_error(a, b, names)
    assert found["aue_lower"] == pytest.approx(1.0 + 0.25) and found["aue_upper"] == pytest.approx(0.25)
    assert found["r/AU12"] == pytest.approx(1) and found["r/AU26"] == pytest.approx(1)
    assert np.isnan(found["r/AU25"])  # it moves in neither
    b[:10] = np.nan
    assert au_error(a, b, names)["aue_lower"] == pytest.approx(1.25)
    assert all(np.isnan(value) for value in au_error(a, b * np.nan, names).values())


def test_a_unit_is_the_mean_of_the_actions_seen():
    names = sorted({name for unit in UNITS.values() for name in unit.actions})
    actions = np.full((1, len(names)), 0.1)
    actions[0, names.index("browDownLeft")], actions[0, names.index("browDownRight")] = 0.4, np.nan
    units = action_units(actions, names)
    assert units["AU04"] == pytest.approx(2.0)
    assert units["AU25"] == pytest.approx(2.0) and units["AU26"] == pytest.approx(0.5)


def test_mistakes_are_named(speaker):
    estimator, marks, actions, pose, cameras = speaker
    with pytest.raises(UserError, match="give the same frames"):
        estimator.estimate(certain(marks)[:5], pose, cameras)
    with pytest.raises(UserError, match="over the same frames"):
        au_error(actions, actions[:5], estimator.names)
    with pytest.raises(UserError, match="ARKit"):
        au_error(actions[:, :3], actions[:, :3], ["expression_0", "expression_1", "jawOpen"])
