"""What lips do in a frame is told by their landmarks."""

from dataclasses import replace

import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.data.lips import ACTION, JAW, MOST, MOUTH, lost_lips
from tests.data.portraits import detected, portrait

FRAMES = 200  # more than are solved together
SAID = ("mouthPucker", "mouthLowerDownLeft", "mouthLowerDownRight")


@pytest.fixture(scope="module")
def body():
    return load_body("open_flame")


@pytest.fixture(scope="module")
def speaking(body):
    """A head that turns a little, a jaw and lips that speak."""
    generator = torch.Generator().manual_seed(0)
    pose = body.zero_pose(FRAMES)
    pose.full_pose[:, body.joint_names.index("head")] = 0.05 * torch.randn(FRAMES, 3, generator=generator)
    pose.full_pose[:, body.joint_names.index("jaw"), 0] = 0.15 * torch.rand(FRAMES, generator=generator)
    pose.expression[:, columns(body)] = 0.5 * torch.rand(FRAMES, len(SAID), generator=generator)
    return pose


def columns(body):
    return [body.expression_names.index(name) for name in SAID]


def smoothed(body, pose):
    """As a tracker whose jaw and lips do not move has it."""
    jaw = body.joint_names.index("jaw")
    full_pose, expression = pose.full_pose.clone(), pose.expression.clone()
    full_pose[:, jaw], expression[:, columns(body)] = full_pose[:, jaw].mean(0), expression[:, columns(body)].mean(0)
    return replace(pose, full_pose=full_pose, expression=expression)


def wrong(body, pose, true):
    """Millimetres between the mouth's landmarks in the head, whose mean over frames is no business of lips."""
    points = [body.posed_landmarks(replace(one, transl=torch.zeros_like(one.transl)))[:, MOUTH] for one in (pose, true)]
    apart = points[0] - points[1]
    return 1e3 * (apart - apart.mean(0)).square().sum(-1).mean().sqrt()


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_lips_move_when_their_landmarks_do(body, speaking, noise):
    tracked = smoothed(body, speaking)
    lost = lost_lips(body, tracked, detected(body, speaking, noise), portrait(body, FRAMES))
    found = lost.apply(tracked, range(FRAMES))
    assert wrong(body, found, speaking) < (0.35 + 0.2 * noise) * wrong(body, tracked, speaking)
    lids = [i for i, name in enumerate(body.expression_names) if name.startswith(("eye", "brow", "cheek", "nose"))]
    assert torch.equal(found.expression[:, lids], tracked.expression[:, lids])
    assert torch.equal(lost.apply(tracked[[150, 3]], [150, 3]).expression, found.expression[[150, 3]])
    assert torch.equal(tracked.expression, smoothed(body, speaking).expression)  # what was given is not written into


def test_a_tracker_without_fault_is_left_alone_wherever_its_marks_sit(body, speaking):
    marks = detected(body, speaking)
    marks[:, :, :2] += torch.linspace(-3, 3, 68)[:, None] + torch.linspace(-5, 5, FRAMES)[:, None, None]
    lost = lost_lips(body, speaking, marks, portrait(body, FRAMES))
    assert lost.amounts.abs().max() < 0.02 * ACTION and lost.turns.abs().max() < 0.02 * JAW


def test_a_mouth_that_is_not_seen_tells_nothing_and_a_wrong_one_little(body, speaking):
    marks = detected(body, smoothed(body, speaking))
    marks[3, MOUTH] = 0
    marks[4, 30] = 0  # the nose's tip: where the face is, the others would tell otherwise
    marks[5, MOUTH, :2] += 300 * torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    lost = lost_lips(body, smoothed(body, speaking), marks, portrait(body, FRAMES))
    assert not lost.amounts[3:5].any() and not lost.turns[3:5].any()
    assert ACTION < lost.amounts[5].abs().max() <= MOST * ACTION * (1 + 1e-6)


def test_a_body_whose_actions_have_no_names_has_none(body, speaking, monkeypatch):
    monkeypatch.setattr(body, "expression_names", [f"component_{i}" for i in range(len(body.expression_names))])
    assert lost_lips(body, speaking, torch.ones(FRAMES, 68, 3), portrait(body, FRAMES)) is None
