import torch

from talkingavatar.networks.skinning import SkinningField


def field(size=5, joints=3, seed=0):
    torch.manual_seed(seed)
    weights = torch.rand(joints, size, size, size)
    weights = weights / weights.sum(0)
    return SkinningField.from_grid(weights, torch.full((3,), -1.0), torch.full((3,), 1.0)), weights


def transforms(joints, seed=1):
    torch.manual_seed(seed)
    return torch.eye(4)[:3] + 0.1 * torch.randn(joints, 3, 4)


def test_equals_interpolating_the_weights_themselves():
    skinning, weights = field()
    points = torch.rand(20, 3) * 2 - 1
    sampled = torch.nn.functional.grid_sample(weights[None], points[None, None, None], align_corners=True)
    expected = torch.einsum("jn,jab->nab", sampled[0, :, 0, 0], transforms(3))
    torch.testing.assert_close(skinning(points, transforms(3)), expected)


def test_weights_at_a_point_blend_to_the_same_motion():
    skinning, _ = field()
    points = torch.rand(20, 3) * 2 - 1
    by_weights = (skinning.weights_at(points) @ transforms(3).flatten(1)).unflatten(-1, (3, 4))
    torch.testing.assert_close(skinning(points, transforms(3)), by_weights)


def test_one_hot_weights_reproduce_rigid_motion():
    skinning, _ = field()
    one_hot = torch.nn.functional.one_hot(torch.full((len(skinning.weights),), 1), 3).float()
    skinning = SkinningField(one_hot, skinning.node_of_voxel, skinning.lower, skinning.upper)
    moved = skinning(torch.rand(7, 3), transforms(3))
    torch.testing.assert_close(moved, transforms(3)[1].expand(7, 3, 4))


def test_residual_is_renormalised_and_clamped():
    skinning, _ = field()
    with torch.no_grad():
        skinning.residual.normal_()
    weights = skinning.weights.dense(skinning.convex())
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(weights)))


def test_points_outside_take_the_border():
    skinning, _ = field()
    inside = skinning(torch.tensor([[1.0, 0.2, 0.3]]), transforms(3))
    torch.testing.assert_close(skinning(torch.tensor([[9.0, 0.2, 0.3]]), transforms(3)), inside)


def test_gradient_reaches_the_residual_and_the_point():
    skinning, _ = field()
    skinning.double()
    points = (torch.rand(4, 3, dtype=torch.float64) * 1.2 - 0.6).requires_grad_()
    bones = transforms(3).double()
    assert torch.autograd.gradcheck(lambda p: skinning(p, bones), points)
    skinning(points, bones).square().sum().backward()
    assert skinning.residual.grad.abs().sum() > 0


def test_an_inactive_node_borrows_the_nearest_active_one():
    weights = torch.zeros(2, 16, 16, 16)
    weights[0, :, :, 3], weights[1, :, :, 12] = 1.0, 1.0  # planes of constant x
    skinning = SkinningField.from_grid(weights, torch.tensor([-1.0, -5.0, -5.0]), torch.tensor([1.0, 5.0, 5.0]))
    assert len(skinning.weights) == 2 * 16 * 16 > skinning.node_of_voxel.max()
    points = torch.tensor([[-0.9, 0.1, 0.2], [-0.2, 4.0, -3.0], [0.2, 0.0, 0.0], [1.0, 5.0, 5.0]])
    torch.testing.assert_close(skinning.weights_at(points), torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]))


def test_a_point_that_is_none_reads_no_other_memory():
    skinning, _ = field()
    points = torch.rand(4, 3) * 2 - 1
    moved = skinning(torch.cat([points, torch.full((1, 3), torch.nan)]), transforms(3))
    torch.testing.assert_close(moved[:4], skinning(points, transforms(3)))
    assert moved[4].isnan().all()
