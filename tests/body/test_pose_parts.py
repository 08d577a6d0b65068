"""Parts of a pose as a table, and some of the body's vertices alone."""

from dataclasses import replace

import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.body.pose_parts import PARTS, PoseParts
from talkingavatar.errors import UserError
from tests.body import published
from tests.body.test_body import random_pose


@pytest.fixture(scope="module")
def licensed(tmp_path_factory):
    """A FLAME in the published layout: pose correctives, and expressions without names of ARKit's."""
    folder = tmp_path_factory.mktemp("flame")
    published.write_pkl(folder / "generic_model.pkl", published.flame_arrays())
    return load_body("flame", folder)


@pytest.mark.parametrize("name", ["body", "head"])
def test_what_is_written_is_read_and_the_rest_stays(name, request):
    body = request.getfixturevalue(name)
    pose, parts = random_pose(body, 3), PoseParts(body, ("mouth", "head", "jaw"))
    values = torch.randn(3, len(parts))
    changed = parts.write(pose, values)
    assert torch.equal(parts.read(changed), values) and not torch.equal(parts.read(pose), values)
    assert torch.equal(PoseParts(body, ("upper", "eyes")).read(changed), PoseParts(body, ("upper", "eyes")).read(pose))
    assert torch.equal(changed.full_pose[:, 0], pose.full_pose[:, 0]) and torch.equal(changed.transl, pose.transl)
    assert torch.equal(parts.write(pose, parts.read(pose)).full_pose, pose.full_pose)


@pytest.mark.parametrize(("name", "joints"), [("body", ["neck", "head"]), ("head", ["head"])])
def test_every_number_has_a_name_of_its_own(name, joints, request):
    body = request.getfixturevalue(name)
    parts = PoseParts(body, PARTS)
    assert len(parts.names) == len(set(parts.names)) == parts.read(body.zero_pose()).shape[1] == len(parts)
    assert PoseParts(body, ("head",)).names == [f"{joint}_{axis}" for joint in joints for axis in "xyz"]
    assert {"jaw_x", "left_eye_smplhf_y", "mouthClose", "jawOpen", "browInnerUp"} <= set(parts.names)
    assert "eyeBlinkLeft" in PoseParts(body, ("upper",)).names
    assert set(body.expression_names) <= set(parts.names)


def test_the_order_of_the_parts_does_not_matter(head):
    assert PoseParts(head, ("mouth", "jaw")).names == PoseParts(head, ("jaw", "mouth")).names


def test_gradients_reach_the_values_and_the_given_pose_is_left(head):
    parts, pose = PoseParts(head, ("jaw", "mouth")), random_pose(head, 2)
    kept = pose.expression.clone()
    values = torch.randn(2, len(parts), requires_grad=True)
    head(parts.write(pose, values))[0].sum().backward()
    assert values.grad is not None and values.grad.abs().min(0).values.max() > 0
    assert torch.equal(pose.expression, kept) and not pose.expression.requires_grad


def test_expressions_without_names_are_all_the_mouth(licensed):
    mouth = PoseParts(licensed, ("mouth",))
    assert len(mouth) == 100
    with pytest.raises(UserError, match="upper, which flame cannot tell apart"):
        PoseParts(licensed, ("upper",))


@pytest.mark.parametrize(
    ("given", "message"), [(("jaws",), "did you mean jaw"), ((), "some of jaw"), (("jaw", "jaw"), "each once")]
)
def test_mistakes_in_the_parts_are_named(head, given, message):
    with pytest.raises(UserError, match=message):
        PoseParts(head, given)


@pytest.mark.parametrize("name", ["body", "head", "licensed"])
def test_some_vertices_alone_are_those_of_the_whole(name, request):
    body = request.getfixturevalue(name)
    wanted = torch.tensor([5, 4000, 17, 17, len(body.v_template) - 1])
    pose = random_pose(body, 4)
    pose = replace(pose, expression=pose.expression.requires_grad_())
    whole, joints = body(pose)
    some, same = body(pose, wanted)
    torch.testing.assert_close(some, whole[:, wanted], rtol=0, atol=1e-6)
    assert torch.equal(joints, same)
    assert name != "licensed" or body.posedirs is not None
    (gradient,) = torch.autograd.grad(some.sum(), pose.expression)
    assert gradient.abs().max() > 0
