import torch

from talkingavatar.geometry.rotations import axis_angle_to_matrix
from talkingavatar.geometry.triangles import quarters, triangle_areas, triangle_frames


def corners(count=20):
    return torch.randn(count, 3, 3, generator=torch.Generator().manual_seed(0))


def test_a_right_triangle_has_the_frame_of_its_sides():
    frames = triangle_frames(torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 4, 0]]]))
    torch.testing.assert_close(frames.scale, torch.tensor([3.0]))  # base 2, height 4
    torch.testing.assert_close(frames.centre, torch.tensor([[2 / 3, 4 / 3, 0]]))
    along, normal, third = frames.rotation[0].T
    assert along.tolist() == [1, 0, 0] and normal.tolist() == [0, 0, 1] and third.tolist() == [0, -1, 0]


def test_frames_are_proper_rotations_and_point_away_from_the_third_corner():
    points = corners()
    frames = triangle_frames(points)
    torch.testing.assert_close(frames.rotation @ frames.rotation.mT, torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(frames.rotation), torch.ones(20), atol=1e-5, rtol=0)
    assert ((points[:, 2] - points[:, 0]) * frames.rotation[:, :, 2]).sum(-1).max() < 0


def test_frames_follow_rigid_motion_and_size():
    points = corners()
    turn, move = axis_angle_to_matrix(torch.tensor([0.3, -1.0, 0.4])), torch.tensor([1.0, 2, 3])
    before, after = triangle_frames(points), triangle_frames(2 * points @ turn.T + move)
    torch.testing.assert_close(after.rotation, turn @ before.rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.scale, 2 * before.scale)
    torch.testing.assert_close(after.centre, 2 * before.centre @ turn.T + move, atol=1e-5, rtol=0)


def test_a_degenerate_triangle_is_finite():
    frames = triangle_frames(torch.zeros(1, 3, 3))
    assert frames.rotation.isfinite().all() and frames.scale.item() == 0


def test_quarters_are_as_large_as_each_other_and_face_as_their_triangle_does():
    points = corners()
    cut = quarters(points)
    areas = triangle_areas(cut.flatten(0, 1)).view(-1, 4)
    torch.testing.assert_close(areas, (triangle_areas(points) / 4)[:, None].expand(-1, 4))
    normals = triangle_frames(cut.flatten(0, 1)).rotation[:, :, 1].view(-1, 4, 3)
    torch.testing.assert_close(normals, triangle_frames(points).rotation[:, None, :, 1].expand(-1, 4, 3))
    torch.testing.assert_close(cut.mean((1, 2)), points.mean(1))
    torch.testing.assert_close(cut[:, [0, 1, 2], [0, 1, 2]], points)
