import pytest
import torch

from talkingavatar.geometry.rotations import axis_angle_to_matrix
from talkingavatar.geometry.slerp import axis_angle_to_quat, blend_poses, quat_to_axis_angle, slerp
from talkingavatar.types import BodyPose


def test_axis_angle_and_quaternion_are_inverse():
    torch.manual_seed(0)
    rotvec = torch.randn(200, 3, dtype=torch.float64)
    rotvec[:3] = torch.tensor([[0.0, 0.0, 0.0], [1e-9, 0.0, 0.0], [3.1, 0.0, 0.0]], dtype=torch.float64)
    back = quat_to_axis_angle(axis_angle_to_quat(rotvec))
    assert torch.allclose(axis_angle_to_matrix(back), axis_angle_to_matrix(rotvec), atol=1e-6)
    assert (back.norm(dim=-1) <= torch.pi + 1e-9).all()


def test_slerp_turns_at_constant_speed_the_short_way():
    a, b = torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[0.0, 0.0, -3.0]])
    half = slerp(a, b, torch.tensor([[0.5]]))
    assert half[0, 2].abs() == pytest.approx(torch.pi, abs=1e-4)  # 0.28 rad through pi, not 6 rad through 0
    shares = torch.linspace(0, 1, 11)[:, None]
    start, end = torch.tensor([0.3, -1.0, 0.2]).expand(11, 3), torch.tensor([1.1, 0.4, -0.8]).expand(11, 3)
    between = axis_angle_to_matrix(slerp(start, end, shares))
    steps = (between[1:] @ between[:-1].mT).diagonal(dim1=1, dim2=2).sum(1)
    assert torch.allclose(steps, steps[0].expand(10), atol=1e-5)
    ends = axis_angle_to_matrix(torch.stack([start[0], end[0]]))
    assert torch.allclose(between[[0, -1]], ends, atol=1e-5)


def test_poses_blend_from_one_to_the_other():
    def pose(value: float) -> BodyPose:
        return BodyPose(*(torch.full(s, value) for s in ((2, 10), (2, 5), (2, 55, 3), (2, 3))))

    blended = blend_poses(pose(0.0), pose(0.4), torch.tensor([0.0, 0.25]))
    for part in (blended.expression, blended.full_pose, blended.transl):
        assert torch.allclose(part[0], torch.zeros(()), atol=1e-6)
        assert torch.allclose(part[1], torch.tensor(0.1), atol=1e-6)
