"""A shape that is a little off is told by where the eyes are, in the mean of all frames."""

from dataclasses import replace

import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.data.shape_shift import EYES, shape_shift
from talkingavatar.geometry.cameras import project
from tests.data.portraits import detected, portrait

FRAMES = 60


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture(scope="module")
def nodding(body):
    """A person of some shape whose head turns."""
    pose = body.zero_pose(FRAMES)
    drawn = torch.Generator().manual_seed(0)
    pose.full_pose[:, body.joint_names.index("head")] = 0.1 * torch.randn(FRAMES, 3, generator=drawn)
    return replace(pose, betas=torch.randn(1, pose.betas.shape[1], generator=drawn).expand(FRAMES, -1))


def eyes_off(body, pose, marks):
    """Pixels, in the mean of all frames."""
    return float(
        (project(body.posed_landmarks(pose), portrait(body, FRAMES)) - marks[..., :2])[:, EYES].mean((0, 1)).norm()
    )


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_eyes_come_to_where_they_are_seen_by_a_small_change_of_shape_alone(body, nodding, noise):
    marks = detected(body, nodding, noise)
    wrong = replace(nodding, betas=nodding.betas + 0.05)
    shift = shape_shift(body, wrong, marks, portrait(body, FRAMES))
    found = shift.apply(wrong)
    assert eyes_off(body, wrong, marks) > 1
    assert eyes_off(body, found, marks) < 0.1 * eyes_off(body, wrong, marks)
    assert shift.values.norm() < 1.5 * 0.05 * len(shift.values) ** 0.5
    assert torch.equal(found.full_pose, wrong.full_pose) and torch.equal(found.expression, wrong.expression)


def test_a_shape_that_is_right_stays_and_landmarks_that_are_not_seen_say_nothing(body, nodding):
    marks, cameras = detected(body, nodding), portrait(body, FRAMES)
    assert shape_shift(body, nodding, marks, cameras).values.abs().max() < 1e-3
    marks[:, :, :2] += 40 * (torch.arange(FRAMES) % 2)[:, None, None]
    marks[1::2, :, 2] = 0
    assert shape_shift(body, nodding, marks, cameras).values.abs().max() < 1e-3
    marks[..., 2] = 0
    assert not shape_shift(body, nodding, marks, cameras).values.any()
