"""Keypoints are the body's own points, posed without the rest of it."""

import math

import pytest
import torch

from talkingavatar.body.keypoints import COUNT, LEFT_IRIS, RIGHT_IRIS, KeypointBody
from talkingavatar.body.models import load_body
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose
from tests.body import published


@pytest.fixture(scope="module")
def licensed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    published.write_npz(folder / "SMPLX_NEUTRAL.npz", published.smplx_arrays())
    return load_body("smplx", folder)


def random_pose(body, batch=3):
    generator = torch.Generator().manual_seed(0)
    zero = body.zero_pose(batch)

    def drawn(like, scale):
        return scale * torch.randn(like.shape, generator=generator)

    return BodyPose(
        drawn(zero.betas[:1], 1.0).expand(batch, -1),
        drawn(zero.expression, 0.3).abs(),
        drawn(zero.full_pose, 0.3),
        drawn(zero.transl, 1.0),
    )


@pytest.mark.parametrize("name", ["body", "head", "licensed"])
def test_keypoints_are_points_of_the_body(name, request):
    body = request.getfixturevalue(name)
    pose = random_pose(body)
    vertices, joints = body(pose)
    model = KeypointBody(body)
    points, own_joints = model(pose)
    assert torch.allclose(own_joints, joints, atol=1e-5)
    marks = body.landmarks(vertices)
    assert torch.allclose(points[:, 67:118], marks[:, 17:], atol=1e-5)
    assert torch.allclose(points[:, 118:135], marks[:, :17], atol=1e-5)
    assert model.known[67:135].all()
    for row, eye in ((LEFT_IRIS, "left_eye"), (RIGHT_IRIS, "right_eye")):
        apart = (vertices[:, body.regions[eye]] - points[:, row, None]).norm(dim=-1).amin(1)
        assert (apart < 1e-5).all()
    if name == "head":
        assert not model.known[:67].any()
        return
    picked = {name: j for j, name in enumerate(body.joint_names)}
    middle = (joints[:, picked["left_shoulder"]] + joints[:, picked["right_shoulder"]]) / 2
    assert torch.allclose(points[:, 1], middle, atol=1e-5)
    for row, joint in ((3, "right_elbow"), (7, "left_wrist"), (25, "left_wrist"), (26, "left_thumb1"), (46 + 19, "right_pinky3")):  # fmt: skip  # noqa: E501
        assert torch.allclose(points[:, row], joints[:, picked[joint]], atol=1e-5), joint
    for row, place in ((0, 0), (17, 3), (19, 5), (25 + 4, 11), (25 + 20, 15), (46 + 8, 17)):
        assert torch.allclose(points[:, row], vertices[:, body.vertex_joints[place]], atol=1e-5), place
    assert model.known.all()


def test_finger_tips_end_their_fingers(body):
    points, joints = KeypointBody(body)(body.zero_pose())
    for first, side in ((25, "left"), (46, "right")):
        for finger, name in enumerate(("thumb", "index", "middle", "ring", "pinky")):
            tip, last = points[0, first + 4 + 4 * finger], joints[0, body.joint_names.index(f"{side}_{name}3")]
            assert 0.01 < (tip - last).norm() < 0.05


def test_an_offset_turns_with_its_part(body):
    model = KeypointBody(body)
    pose = body.zero_pose()
    pose.full_pose[0, 0, 1] = math.pi / 2  # +z goes to +x
    offsets = torch.zeros(COUNT, 3)
    offsets[:, 2] = torch.linspace(0.01, 0.02, COUNT)
    moved = model(pose, offsets)[0] - model(pose)[0]
    assert torch.allclose(moved[0], offsets[:, [2, 1, 0]], atol=1e-6)


def test_a_model_without_landmarks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(tmp_path))
    published.write_pkl(tmp_path / "FLAME_NEUTRAL.pkl", published.flame_arrays())
    with pytest.raises(UserError, match="landmark"):
        KeypointBody(load_body("flame", tmp_path))
