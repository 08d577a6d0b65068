import torch

from talkingavatar.losses import normal_consistency, vertex_binding


def test_vertex_binding_is_the_squared_distance_to_the_parent():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0]])
    means = torch.tensor([[0.0, 3, 4], [1, 0, 0], [1, 0, 2]])
    assert vertex_binding(means, vertices, torch.tensor([0, 1, 1])).tolist() == [25, 0, 4]


def test_normal_consistency_runs_from_zero_to_two():
    up = torch.tensor([0.0, 0, 1]).expand(1, 2, 2, 3)
    assert normal_consistency(up, up).max() == 0
    assert normal_consistency(up, -up).min() == 2
