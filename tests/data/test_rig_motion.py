"""Motion latents of tracked bodies."""

import copy
from dataclasses import replace

import pytest
import torch

from talkingavatar.body.action_units import JAW_OPEN
from talkingavatar.body.models import load_body
from talkingavatar.data.portrait.rig_motion import FittedMotion, RigMotion
from talkingavatar.errors import UserError

FRONT = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


@pytest.fixture(scope="module")
def body():
    return load_body("open_flame")


def test_a_face_at_rest_says_nothing_and_its_head_where_it_is(body):
    rest = body.zero_pose(3)
    turned = replace(rest, full_pose=rest.full_pose.clone(), transl=rest.transl.clone())
    turned.full_pose[1, 0, 1] = 0.2  # the whole, to its left
    read = RigMotion(body, rest.betas[:1], FRONT)
    read.lie(rest)
    turned.transl[2] = torch.tensor([0.0, read.size, 0.0])
    found = read(turned)
    assert found.shape == (3, read.dyn + 7)
    assert found[:, : read.dyn].abs().max() < 1e-3
    torch.testing.assert_close(found[0, read.dyn :], torch.zeros(7), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1, read.dyn :][:4], torch.tensor([0.0, 0.0, 0.2, 0.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[2, read.dyn :], torch.tensor([0.0, 0, 0, 0, 0, 1, 0]), atol=1e-4, rtol=0)


def test_actions_are_read_alike_whatever_the_head_does(body):
    rest = body.zero_pose(2)
    pose = replace(rest, expression=rest.expression.clone(), full_pose=rest.full_pose.clone())
    pose.expression[:, body.expression_names.index("mouthSmileLeft")] = 0.8
    pose.full_pose[1, 0] = torch.tensor([0.1, 0.3, -0.1])
    found = RigMotion(body, rest.betas[:1], FRONT)(pose)[:, :-7]
    assert found[0].norm() > 0.5
    torch.testing.assert_close(found[0], found[1], atol=2e-3, rtol=0)


def test_single_moves_are_the_rigs_one_by_one(body):
    read, rest = RigMotion(body, body.zero_pose(1).betas, FRONT), body.zero_pose(1)
    codes, poses = read.single_moves(rest)
    smile, opened = (body.expression_names.index(name) for name in ("mouthSmileLeft", "jawOpen"))
    assert len(codes) == len(poses) and codes.shape[1] == read.dyn
    assert torch.equal(poses.expression[smile], torch.eye(len(body.expression_names))[smile] * 0.5)
    torch.testing.assert_close(codes[smile], read(poses[[smile]])[0, : read.dyn], atol=1e-3, rtol=0)
    assert not poses.expression[:, opened].any()
    assert poses.full_pose[opened, body.joint_names.index("jaw"), 0] == pytest.approx(0.5 * JAW_OPEN)


def test_places_are_told_from_where_a_latent_says_they_are(body):
    rest = body.zero_pose(4)
    moved = replace(rest, transl=torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    read = RigMotion(body, rest.betas[:1], FRONT)
    known = moved.transl / read.size
    read.lie(moved, known)
    torch.testing.assert_close(read(moved)[:, -3:], known, atol=1e-4, rtol=0)


def test_other_bodies_have_no_code(body):
    other = copy.copy(body)
    other.name = "flame"
    with pytest.raises(UserError, match="body: found flame"):
        RigMotion(other, torch.zeros(1, 10), FRONT)


def test_latents_of_another_source_are_told_of_poses_nobody_read(body):
    """A source whose numbers go straight with the rig's is told nearly as it speaks; 23 numbers are as good as 39."""
    torch.manual_seed(0)
    rest = body.zero_pose(400)
    pose = replace(rest, expression=0.2 * torch.rand_like(rest.expression), transl=0.01 * torch.randn(400, 3))
    pose.full_pose[:, 1:] = 0.1 * torch.randn(400, 4, 3)
    way = torch.randn(rest.expression.shape[1] + 15, 23)
    latents = torch.cat([pose.expression, pose.full_pose.flatten(1), pose.transl[:, :0]], 1) @ way + 3
    fitted = FittedMotion(pose[list(range(300))], latents[:300], [0, 1, 2, 3, 4])
    assert fitted.dyn == 16
    unread = list(range(300, 400))
    assert (fitted(pose[unread]) - latents[unread]).std() < 0.03 * latents.std(0).mean()
    with pytest.raises(UserError, match="a motion latent of 7 numbers"):
        FittedMotion(pose, latents[:, :7], [0])
