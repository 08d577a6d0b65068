import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from talkingavatar.geometry.rotations import (
    axis_angle_to_matrix,
    matrix_to_quat,
    orthonormalise,
    quat_multiply,
    quat_to_matrix,
    rotation_between,
    turned_back,
)


@pytest.fixture
def rotvec():
    torch.manual_seed(0)
    random = torch.randn(40, 3, dtype=torch.float64) * 2
    return torch.cat([random, torch.zeros(1, 3).double(), 1e-7 * random[:3], torch.tensor([[0, torch.pi, 0]]).double()])


def test_axis_angle_agrees_with_scipy(rotvec):
    expected = torch.from_numpy(Rotation.from_rotvec(rotvec.numpy()).as_matrix())
    torch.testing.assert_close(axis_angle_to_matrix(rotvec), expected)


def test_axis_angle_gradient_is_right_also_at_zero():
    for start in (torch.zeros(3), torch.tensor([1e-9, 0, 0]), torch.tensor([0.3, -1.0, 2.0])):
        assert torch.autograd.gradcheck(axis_angle_to_matrix, start.double().requires_grad_())


def test_quaternion_round_trip(rotvec):
    matrix = axis_angle_to_matrix(rotvec)
    torch.testing.assert_close(quat_to_matrix(matrix_to_quat(matrix)), matrix)


def test_product_of_quaternions_is_the_product_of_matrices(rotvec):
    a = matrix_to_quat(axis_angle_to_matrix(rotvec))
    b = a.flip(0)
    torch.testing.assert_close(quat_to_matrix(quat_multiply(a, b)), quat_to_matrix(a) @ quat_to_matrix(b))


def test_orthonormalise_gives_a_rotation_and_leaves_rotations_alone(rotvec):
    matrix = axis_angle_to_matrix(rotvec)
    torch.testing.assert_close(orthonormalise(matrix), matrix)
    made = orthonormalise(matrix + 0.2 * torch.rand_like(matrix))
    torch.testing.assert_close(made @ made.transpose(-1, -2), torch.eye(3).double().expand_as(made))
    torch.testing.assert_close(torch.linalg.det(made), torch.ones(len(made)).double())


def test_the_smallest_rotation_between_two_directions():
    a, b = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turn = rotation_between(a, b)
    torch.testing.assert_close(
        torch.nn.functional.normalize((turn @ a[..., None])[..., 0]), torch.nn.functional.normalize(b)
    )
    angle = Rotation.from_matrix(turn.numpy()).magnitude()
    np.testing.assert_allclose(np.cos(angle), torch.cosine_similarity(a, b).numpy(), atol=1e-9)


def test_what_a_quaternion_has_turned_is_turned_back():
    quats, vectors = torch.randn(5, 4), torch.randn(5, 3)
    turned = (quat_to_matrix(quats / quats.norm(dim=1, keepdim=True)) @ vectors[..., None])[..., 0]
    torch.testing.assert_close(turned_back(turned, quats), vectors, atol=1e-5, rtol=1e-4)
