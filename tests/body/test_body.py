"""Body against smplx's own forward, and against anatomy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from talkingavatar.body.models import load_body, load_smplx
from talkingavatar.body.open_rig import ensure_open_rig
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose


def posed(body, rotations=None, **actions) -> BodyPose:
    pose = body.zero_pose()
    for name, vector in (rotations or {}).items():
        pose.full_pose[0, body.joint_names.index(name)] = torch.tensor(vector)
    for name, amount in actions.items():
        pose.expression[0, body.expression_names.index(name)] = amount
    return pose


def motion(body, rotations=None, **actions) -> torch.Tensor:
    """How far each vertex moves from the T-pose, metres."""
    return (body(posed(body, rotations, **actions))[0] - body(body.zero_pose())[0])[0].norm(dim=1)


def random_pose(body, batch=2) -> BodyPose:
    generator = torch.Generator().manual_seed(3)
    shapes = [(batch, body.shapedirs.shape[2]), (batch, body.expressiondirs.shape[2])]
    shapes += [(batch, len(body.parents), 3), (batch, 3)]
    betas, expression, pose, transl = (torch.randn(s, generator=generator) for s in shapes)
    return BodyPose(betas, expression * 0.3, pose * 0.4, transl)


def smplx_forward(model, pose: BodyPose):
    """The package's own forward of one frame."""
    keys = ["global_orient", "neck_pose", "jaw_pose", "leye_pose", "reye_pose"]
    parts = dict(zip(keys, pose.full_pose.unbind(1), strict=False))
    if pose.full_pose.shape[1] == 55:
        q = pose.full_pose
        parts = {"global_orient": q[:, 0], "jaw_pose": q[:, 22], "leye_pose": q[:, 23], "reye_pose": q[:, 24]}
        ranges = {"body_pose": (1, 22), "left_hand_pose": (25, 40), "right_hand_pose": (40, 55)}
        parts |= {name: q[:, a:b].reshape(1, -1) for name, (a, b) in ranges.items()}
    return model(betas=pose.betas, expression=pose.expression, transl=pose.transl, **parts)


@pytest.mark.parametrize("name", ["open", "open_flame"])
def test_forward_is_that_of_smplx(name, cache):
    body, (model, _, _) = load_body(name), load_smplx(name)
    batch = random_pose(body)
    vertices, joints = body(batch)
    for i in range(len(batch)):
        expected = smplx_forward(model, batch[i : i + 1])
        assert torch.allclose(vertices[i], expected.vertices[0], atol=1e-5)
        assert torch.allclose(joints[i], expected.joints[0, : joints.shape[1]], atol=1e-5)


def test_smplx_picks_our_vertices(body):
    model, _, _ = load_smplx("open")
    extra = smplx_forward(model, body.zero_pose()).joints[0, 55:76]
    assert torch.allclose(extra, body.v_template[body.vertex_joints], atol=1e-6)
    inner = smplx_forward(model, body.zero_pose()).joints[0, 76:]
    assert torch.allclose(inner, body.landmarks(body.v_template[None])[0, 17:], atol=1e-6)


def test_rest_pose_is_the_template(body):
    vertices, joints = body(body.zero_pose())
    assert torch.allclose(vertices[0], body.v_template, atol=1e-6)
    assert torch.allclose(joints, body.rest_joints(torch.zeros(1, 10)), atol=1e-6)


def test_transforms_skin_the_shaped_body_to_the_same_place(body):
    pose = random_pose(body)
    transforms = body.joint_transforms(pose.betas, pose.full_pose, pose.expression)
    shape = torch.einsum("bs,vcs->bvc", pose.betas, body.shapedirs)
    shaped = body.v_template + shape + torch.einsum("be,vce->bvc", pose.expression, body.expressiondirs)
    blended = torch.einsum("vj,bjrc->bvrc", body.weights, transforms)
    vertices = torch.einsum("bvrc,bvc->bvr", blended[..., :3, :3], shaped) + blended[..., :3, 3]
    assert torch.allclose(vertices + pose.transl[:, None], body(pose)[0], atol=1e-5)


def test_points_beside_vertices_turn_with_them(body):
    """An offset is linear and turns as its vertex does: at rest it stays, under a turn of the whole body it turns."""
    vertices = torch.tensor([5, 900, 7000])
    offsets = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.3]])
    rest = body.zero_pose()
    assert torch.allclose(body(rest, vertices, offsets)[0], body.v_template[vertices] + offsets, atol=1e-6)
    turned = replace(rest, full_pose=torch.zeros_like(rest.full_pose))
    turned.full_pose[:, 0, 1] = torch.pi / 2  # about y: x goes to -z, z to x
    moved = body(turned, vertices, offsets)[0] - body(turned, vertices)[0]
    expected = torch.tensor([[0.0, 0.0, -0.1], [0.0, 0.2, 0.0], [0.3, 0.0, 0.0]])
    assert torch.allclose(moved[0], expected, atol=1e-6)


def test_transforms_are_rigid_and_identity_at_rest(body):
    rest = body.joint_transforms(torch.randn(1, 10), torch.zeros(1, 55, 3))
    assert torch.allclose(rest, torch.eye(4).expand(1, 55, 4, 4), atol=1e-6)
    turned = body.joint_transforms(torch.zeros(2, 10), torch.randn(2, 55, 3))[..., :3, :3]
    assert torch.allclose(turned @ turned.mT, torch.eye(3).expand_as(turned), atol=1e-5)


def test_gradients_of_transforms(cache):
    body = load_body("open").double()
    betas = torch.randn(1, 10, dtype=torch.float64, requires_grad=True)
    # Zero rotations are where a careless formula has no gradient.
    pose = torch.zeros(1, 55, 3, dtype=torch.float64)
    pose[:, ::2] = 0.3 * torch.randn(1, 28, 3, dtype=torch.float64)
    pose.requires_grad_()
    assert torch.autograd.gradcheck(lambda b, p: body.joint_transforms(b, p)[..., :3, :], (betas, pose), fast_mode=True)


def test_gradients_reach_every_parameter(body):
    pose = random_pose(body, 1)
    leaves = [t.requires_grad_() for t in (pose.betas, pose.expression, pose.full_pose, pose.transl)]
    vertices, joints = body(pose)
    (vertices.square().sum() + joints.square().sum()).backward()
    assert all(leaf.grad.isfinite().all() and (leaf.grad != 0).all() for leaf in leaves)


def test_jaw_opens_the_mouth(body):
    moved, regions = motion(body, {"jaw": [0.3, 0.0, 0.0]}), body.regions
    assert moved[regions["teeth_upper"]].max() < 1e-6
    assert moved[regions["teeth_lower"]].min() > 0.01
    assert moved[regions["lip_inner_lower"]][3:-3].min() > 0.01 > moved[regions["lip_inner_upper"]][3:-3].max()
    vertices, _ = body(posed(body, {"jaw": [0.3, 0.0, 0.0]}))
    points = body.landmarks(vertices)[0]
    assert points[62, 1] - points[66, 1] > 0.01


def test_jaw_action_moves_the_lower_teeth(body):
    moved = motion(body, jawOpen=1.0)
    assert moved[body.regions["teeth_upper"]].max() < 1e-6
    assert abs(moved[body.regions["teeth_lower"]].mean().item() - 0.022) < 0.001  # MakeHuman's own figure


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("finger", ["thumb", "index", "middle", "ring", "pinky"])
def test_a_finger_curls_alone(body, side, finger):
    bend = [0.0, 0.0, -1.0 if side == "left" else 1.0]
    moved = motion(body, {f"{side}_{finger}{k}": bend for k in (1, 2, 3)})
    hand = torch.zeros_like(moved, dtype=torch.bool)
    hand[body.regions[f"{side}_hand"]] = True
    assert moved[~hand].max() < 1e-3
    own = body.weights[:, [i for i, n in enumerate(body.joint_names) if n.startswith(f"{side}_{finger}")]].sum(1)
    others = body.weights[:, 25:].sum(1) - own
    assert moved[own > 0.9].min() > 0.001 and moved[others > 0.9].max() < 0.005
    tip = (11 if side == "left" else 16) + ["thumb", "index", "middle", "ring", "pinky"].index(finger)
    assert moved[body.vertex_joints[tip]] > 0.02


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_actions_are_one_sided(body, side):
    away = body.v_template[:, 0] * (1 if side == "Left" else -1) < -0.01
    for action in ("mouthSmile", "browDown", "cheekSquint"):
        moved = motion(body, **{f"{action}{side}": 1.0})
        assert moved.max() > 0.004 and moved[away].max() < 0.2 * moved.max()


def test_blink_closes_the_eye(body):
    def opening(**actions):
        points = body.landmarks(body(posed(body, **actions))[0])[0]
        return (points[[43, 44], 1] - points[[47, 46], 1]).mean().item()

    assert opening() > 0.004 and opening(eyeBlinkLeft=1.0) < 0.4 * opening()
    assert abs(opening(eyeBlinkRight=1.0) - opening()) < 1e-4


def test_an_eye_turns_about_its_own_centre(body):
    moved = motion(body, {"left_eye_smplhf": [0.0, 0.4, 0.0]})
    eye = torch.zeros_like(moved, dtype=torch.bool)
    eye[body.regions["left_eye"]] = True
    assert moved[eye].max() > 0.003 and moved[body.regions["right_eye"]].max() == 0
    turned = body(posed(body, {"left_eye_smplhf": [0.0, 0.4, 0.0]}))[0][0, eye]
    assert (turned.mean(0) - body.v_template[eye].mean(0)).norm() < 0.004


def test_flame_head_agrees_with_the_whole_body(body, head):
    with np.load(ensure_open_rig() / "open_rig.npz") as side:
        ids = torch.from_numpy(side["flame_to_body"]).long()
    for turns in ({"jaw": [0.3, 0.1, 0.0]}, {"head": [0.1, 0.5, 0.0], "left_eye_smplhf": [0.1, 0.2, 0.0]}):
        whole, _ = body(posed(body, turns, mouthSmileLeft=0.7))
        part, _ = head(posed(head, turns, mouthSmileLeft=0.7))
        assert torch.allclose(whole[0, ids], part[0], atol=1e-5)
        assert torch.allclose(body.landmarks(whole), head.landmarks(part), atol=1e-5)
    names = ("head", "tongue", "teeth_lower", "lip_outer_upper")
    assert all(torch.equal(ids[head.regions[n]], body.regions[n]) for n in names)


def test_number_of_coefficients(cache):
    body = load_body("open", num_betas=12, num_expression=5)
    assert body.zero_pose(3).betas.shape == (3, 12) and body.zero_pose(3).expression.shape == (3, 5)
    assert body.expression_names == load_body("open").expression_names[:5]


def test_identity(body, head):
    assert load_body("open").checksum == body.checksum != load_body("open", num_betas=11).checksum
    assert body.name == "open" and len(body.checksum) == 64 and body.checksum != head.checksum
    assert not list(body.parameters()) and not body.state_dict()  # a checkpoint does not carry the model


def test_unknown_model_is_refused():
    with pytest.raises(UserError, match="open, open_flame, smplx, flame"):
        load_body("smpl")


def test_a_body_that_is_changed_changes_no_other():
    changed, expected = load_body("open"), load_body("open").v_template.clone()
    changed.v_template.add_(1.0)
    assert torch.equal(load_body("open").v_template, expected)
