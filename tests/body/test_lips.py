"""Lips: how far they stand apart wherever the head is, and where a motion moves them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from talkingavatar.body.lips import LipRuler, lips_of, opening_lever, still_lips
from talkingavatar.body.models import load_body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.geometry.rotations import axis_angle_to_matrix


@pytest.fixture(scope="module")
def body(cache):
    return load_body("open")


def test_lip_opening_grows_with_the_jaw_wherever_the_head_is(body):
    ruler, pose = LipRuler(body), body.zero_pose(5)
    full_pose = pose.full_pose.clone()
    full_pose[:, body.joint_names.index("jaw"), 0] = torch.linspace(0, 0.3, 5)
    still = ruler.of_body(replace(pose, full_pose=full_pose))
    assert (np.diff(still) > 1e-3).all() and abs(still[0]) < 5e-3
    full_pose[:, 0] = torch.tensor([0.3, -1.0, 0.5])
    full_pose[:, body.joint_names.index("neck")] = torch.tensor([0.2, 0.4, 0.1])
    moved = replace(pose, full_pose=full_pose, transl=torch.ones(5, 3))
    assert ruler.of_body(moved) == pytest.approx(still, abs=1e-4)
    vertices, _ = body(moved[4:5])
    count = vertices.shape[1]
    upper, lower = (vertices[0, lip].mean(0) for lip in ruler.carried(torch.arange(count)))
    assert ruler.of_drawn((upper - lower)[None], moved[4:5]) == pytest.approx(still[4:], abs=1e-4)


def test_an_opening_is_linear_in_the_expression_and_the_jaws_turn(body):
    pose = body.zero_pose(6)
    betas = 0.5 * torch.randn(1, pose.betas.shape[1])
    pose = replace(
        pose, betas=betas.expand(6, -1), full_pose=0.1 * torch.randn_like(pose.full_pose),
        expression=0.4 * torch.rand_like(pose.expression),
    )  # fmt: skip
    basis, rest = opening_lever(body, betas[0])
    still, *turned = (pose.expression @ basis.T + rest).unbind(1)
    up = axis_angle_to_matrix(pose.full_pose[:, body.joint_names.index("jaw")])[:, 1]
    opening = still + (up * torch.stack(turned, 1)).sum(1)
    np.testing.assert_allclose(opening, LipRuler(body).of_body(pose), atol=1e-6)


def test_lips_are_compared_with_the_head_held_still(cache):
    head = load_body("open_flame")
    parts, lips, pose = PoseParts(head, ("jaw",)), lips_of(head), head.zero_pose(5)
    values = parts.read(pose)
    opened = still_lips(head, parts, lips, values + torch.tensor([0.05, 0.0, 0.0]), pose)
    apart = 1e3 * (opened - still_lips(head, parts, lips, values, pose)).norm(dim=-1)
    assert apart.shape == (5, len(lips)) and 2 < float(apart.max()) < 8
    root = pose.full_pose.clone()
    root[:, 0] = torch.tensor([0.3, 1.0, -0.2])
    turned = replace(pose, full_pose=root, transl=torch.ones(5, 3))
    again = still_lips(head, parts, lips, values + torch.tensor([0.05, 0.0, 0.0]), turned)
    torch.testing.assert_close(again, opened)
