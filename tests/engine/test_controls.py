"""Gaze and distance as changes of the pose: by the angles and shares that were asked for."""

import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.drive import parse
from talkingavatar.engine.performing.controls import Controls
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import axis_angle_to_matrix
from talkingavatar.types import Cameras, DrivingSignal

EYE = torch.tensor([0.1, 0.2, 1.5])


@pytest.fixture(scope="module")
def head(cache):
    return load_body("open_flame")


@pytest.fixture
def signal(head):
    pose = head.zero_pose(3)
    pose.full_pose[:, 1] = torch.tensor([0.1, 0.3, 0.0])  # the head is turned; eyes turn in it
    pose.full_pose[1, 3:] = torch.tensor([0.05, -0.1, 0.0])
    return DrivingSignal(torch.full((3,), -1), pose, latent=torch.zeros(3, 39))


@pytest.fixture
def cameras():
    """One at `EYE`, looking back along the world's z."""
    axes = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    viewmat = torch.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = axes, -axes @ EYE
    return Cameras(viewmat[None], torch.eye(3)[None], 8, 8)


def looks(pose, number):
    """In the head's own axes."""
    return axis_angle_to_matrix(pose.full_pose[:, number]) @ torch.tensor([0.0, 0.0, 1.0])


def test_eyes_turn_by_the_angle_that_is_asked_for(head, signal, cameras):
    eyes = [number for number, name in enumerate(head.joint_names) if "eye" in name]
    for gaze, towards in (((20.0, 0.0), (0.342, 0.0)), ((0.0, 10.0), (0.0, 0.1736))):
        turned = Controls(gaze).applied(signal, head, cameras)
        for number in eyes:
            ahead = looks(turned.pose, number)[0]  # whose eyes looked straight ahead
            assert ahead[:2].tolist() == pytest.approx(towards, abs=1e-3)
            apart = (looks(turned.pose, number) * looks(signal.pose, number)).sum(-1).acos().rad2deg()
            assert apart[1] == pytest.approx(max(gaze), abs=1.0)
        others = [number for number in range(len(head.parents)) if number not in eyes]
        assert torch.equal(turned.pose.full_pose[:, others], signal.pose.full_pose[:, others])
        assert turned.latent is None  # which told of another pose


def test_eyes_that_look_aside_already_turn_no_farther_than_eyes_do(head, signal, cameras):
    eyes = [number for number, name in enumerate(head.joint_names) if "eye" in name]
    signal.pose.full_pose[:, eyes, 1] = 0.4
    turned = Controls((25.0, 0.0)).applied(signal, head, cameras).pose.full_pose[:, eyes]
    torch.testing.assert_close(turned[:, :, 1].rad2deg(), torch.full((3, 2), 30.0), atol=1.5, rtol=0)


def test_the_head_comes_nearer_on_the_line_to_the_camera(head, signal, cameras):
    number = head.joint_names.index("head" if "head" in head.joint_names else "neck")
    apart = head(signal.pose)[1][:, number] - EYE
    for factor in (0.6, 1.5):
        moved = Controls(distance=factor).applied(signal, head, cameras)
        torch.testing.assert_close(head(moved.pose)[1][:, number] - EYE, factor * apart, atol=1e-5, rtol=1e-5)
        assert torch.equal(moved.pose.full_pose, signal.pose.full_pose) and moved.latent is None


def test_without_controls_a_signal_is_what_it_was(head, signal, cameras):
    assert Controls().applied(signal, head, cameras) is signal


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gaze=20", r"gaze: found '20'; expected degrees to the side and up"),
        ("gaze=50,0", "gaze: found '?50"),
        ("gaze=a,b", "gaze: found 'a'"),
        ("distance=0", "distance: found '?0"),
        ("guidance=-1", "guidance: found '?-1"),
        ("steps=0", "steps: found '?0"),
    ],
)
def test_a_mistake_is_named(given, message):
    with pytest.raises(UserError, match=message):
        parse(["run=x", given])


def test_what_is_asked_for_reaches_the_request():
    request = parse(["run=x", "gaze=20,-5", "distance=0.8", "guidance=2", "steps=4"]).request
    assert request.controls == Controls((20.0, -5.0), 0.8)
    assert request.prompt.guidance == {"audio": 2.0} and request.prompt.steps == 4
    assert parse(["run=x"]).request.controls == Controls()
    both = parse(["run=x", "guidance=audio=1.15,units=1.3"]).request.prompt.guidance
    assert both == {"audio": 1.15, "units": 1.3}
