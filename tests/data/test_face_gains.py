"""What a tracker's faces lack is told by landmarks."""

from dataclasses import replace

import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.data.face_gains import FaceGains, face_gains
from tests.data.portraits import detected, portrait

FRAMES = 60


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture(scope="module")
def speaking(body):
    """A head that turns a little, a jaw that opens, lips that pucker."""
    generator = torch.Generator().manual_seed(0)
    pose = body.zero_pose(FRAMES)
    jaw, head = body.joint_names.index("jaw"), body.joint_names.index("head")
    pose.full_pose[:, jaw, 0] = 0.25 * torch.rand(FRAMES, generator=generator)
    pose.full_pose[:, head] = 0.1 * torch.randn(FRAMES, 3, generator=generator)
    pose.expression[:, body.expression_names.index("mouthPucker")] = torch.rand(FRAMES, generator=generator)
    return pose


def lacking(body, pose):
    """As a tracker that lets the jaw open by 0.6 and lips pucker by 0.4 would have it."""
    full_pose, expression = pose.full_pose.clone(), pose.expression.clone()
    full_pose[:, body.joint_names.index("jaw")] *= 0.6
    expression[:, body.expression_names.index("mouthPucker")] *= 0.4
    return replace(pose, full_pose=full_pose, expression=expression)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_what_lacks_alike_in_all_frames_is_found(body, speaking, noise):
    found = face_gains(body, lacking(body, speaking), detected(body, speaking, noise), portrait(body, FRAMES))
    pucker = 3 + body.expression_names.index("mouthPucker")
    assert found.values[0] == pytest.approx(1 / 0.6, rel=0.02 + 0.08 * noise)
    assert found.values[pucker] == pytest.approx(1 / 0.4, rel=0.1 + 0.15 * noise)
    others = torch.ones_like(found.values).index_fill(0, torch.tensor([0, pucker]), 0) > 0
    assert (found.values[others] == 1).all()  # nothing excites them


def test_a_tracker_without_fault_is_left_alone_wherever_its_marks_sit(body, speaking):
    """Where landmarks lie on the face, and where the head is, is no business of the gains."""
    marks = detected(body, speaking)
    marks[:, :, :2] += torch.linspace(-3, 3, 68)[:, None] + torch.linspace(-5, 5, FRAMES)[:, None, None]
    found = face_gains(body, speaking, marks, portrait(body, FRAMES))
    assert torch.allclose(found.values, torch.ones_like(found.values), atol=0.02)


def test_marks_that_are_not_seen_do_not_count(body, speaking):
    marks = detected(body, speaking)
    marks[::3, 48:] = torch.tensor([0.0, 0.0, 0.0])
    found = face_gains(body, lacking(body, speaking), marks, portrait(body, FRAMES))
    assert found.values[0] == pytest.approx(1 / 0.6, rel=0.05)


def test_gains_keep_what_is_neutral(body, speaking):
    gains = FaceGains(body.joint_names.index("jaw"), torch.full((3 + len(body.expression_names),), 2.0))
    moved, calm = gains.apply(speaking), gains.apply(body.zero_pose())
    assert torch.equal(moved.expression, 2 * speaking.expression)
    assert torch.equal(moved.full_pose[:, gains.jaw], 2 * speaking.full_pose[:, gains.jaw])
    assert not calm.expression.any() and not calm.full_pose.any()
    assert speaking.expression.max() <= 1  # what was given is not written into
