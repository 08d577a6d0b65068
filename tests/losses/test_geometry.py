import math

import torch

from talkingavatar.losses import beyond_jut, normal_consistency, vertex_binding


def test_vertex_binding_is_the_squared_distance_to_the_parent():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0]])
    means = torch.tensor([[0.0, 3, 4], [1, 0, 0], [1, 0, 2]])
    assert vertex_binding(means, vertices, torch.tensor([0, 1, 1])).tolist() == [25, 0, 4]


def test_normal_consistency_runs_from_zero_to_two():
    up = torch.tensor([0.0, 0, 1]).expand(1, 2, 2, 3)
    assert normal_consistency(up, up).max() == 0
    assert normal_consistency(up, -up).min() == 2


def test_a_gaussian_juts_by_its_extent_across_the_skin():
    quats = torch.tensor([[1.0, 0, 0, 0], [0.5**0.5, 0.5**0.5, 0, 0], [2 * math.cos(0.15), 2 * math.sin(0.15), 0, 0]])
    scales = torch.tensor([[9e-3, 8e-3, 1e-3]]).repeat(3, 1)
    up = torch.tensor([[0.0, 0, 1]]).repeat(3, 1)
    across = torch.tensor([1e-3, 8e-3, math.hypot(8e-3 * math.sin(0.3), 1e-3 * math.cos(0.3))])
    expected = (across / 2e-3 - 1).relu().square()  # flat; on its edge; turned by .3 about x
    torch.testing.assert_close(beyond_jut(quats, scales, up, 2e-3), expected)
