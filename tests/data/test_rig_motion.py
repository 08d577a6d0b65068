"""Motion latents of tracked bodies."""

import copy
from dataclasses import replace

import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.data.portrait.rig_motion import RigMotion
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
