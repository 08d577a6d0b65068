"""Closed forms for what Gaussians on a surface are started from."""

import numpy as np
import torch
from torch.nn.functional import grid_sample

from talkingavatar.body.mesh_geometry import bounding_box, mean_incident_area, skinning_grid, vertex_normals

# A unit square in the plane z = 0, two triangles, and one vertex of no face.
SQUARE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def look_up(grid, points):
    """Weights at points, as methods read the grid."""
    place = 2 * (points - grid.lower) / (grid.upper - grid.lower) - 1
    values = grid_sample(grid.weights[None], place[None, None, None], align_corners=True, padding_mode="border")
    return values[0, :, 0, 0].T


def test_normals_and_areas_of_a_square():
    normals = vertex_normals(SQUARE, FACES)
    assert torch.equal(normals, torch.tensor([[0.0, 0, 1]] * 4 + [[0, 0, 0]]))
    assert torch.allclose(mean_incident_area(SQUARE, FACES), torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0]))


def test_mean_area_is_a_mean():
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, -1, 0]])
    areas = mean_incident_area(vertices, torch.tensor([[0, 1, 2], [0, 3, 1]]))
    assert torch.allclose(areas, torch.tensor([1.5, 1.5, 2.0, 1.0]))


def test_normals_of_the_body_point_outwards(body):
    normals = vertex_normals(body.v_template, body.faces)
    attached = torch.unique(body.faces)
    assert torch.allclose(normals[attached].norm(dim=1), torch.ones(len(attached)), atol=1e-5)
    nose, *_ = body.vertex_joints
    assert normals[nose, 2] > 0.7
    for eye in (body.regions["left_eye"], body.regions["right_eye"]):
        outwards = body.v_template[eye] - body.v_template[eye].mean(0)
        assert ((normals[eye] * outwards).sum(1) > 0).all()


def test_grid_is_a_box_of_shares():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.rand(200, 3, generator=generator) * torch.tensor([2.0, 1.0, 0.5])
    weights = torch.rand(200, 4, generator=generator).softmax(1)
    grid = skinning_grid(vertices, weights, resolution=8, extent=1.2)
    assert grid.weights.shape == (4, 8, 8, 8)
    assert torch.allclose(grid.weights.sum(0), torch.ones(8, 8, 8), atol=1e-6)
    sides = vertices.amax(0) - vertices.amin(0)
    assert torch.allclose(grid.upper - grid.lower, 1.2 * sides)
    assert torch.allclose(grid.upper + grid.lower, vertices.amax(0) + vertices.amin(0))


def test_nodes_beyond_the_band_are_left_out_and_the_others_are_the_same():
    generator = torch.Generator().manual_seed(0)
    vertices, weights = torch.rand(60, 3, generator=generator), torch.rand(60, 4, generator=generator).softmax(1)
    whole, part = skinning_grid(vertices, weights, 8), skinning_grid(vertices, weights, 8, band=0.1)
    kept = part.weights.sum(0) > 0
    assert 0 < kept.sum() < kept.numel()
    assert torch.equal(part.weights[:, kept], whole.weights[:, kept])


def test_nodes_average_their_three_nearest_vertices():
    generator = torch.Generator().manual_seed(1)
    vertices, weights = (
        torch.rand(50, 3, generator=generator),
        torch.rand(50, 5, generator=generator).softmax(1),
    )
    grid = skinning_grid(vertices, weights, resolution=6)
    z, y, x = 1, 4, 2
    step = (grid.upper - grid.lower) / 5
    node = grid.lower + step * torch.tensor([x, y, z])
    distances, nearest = (vertices - node).norm(dim=1).topk(3, largest=False)
    share = (1 / distances) / (1 / distances).sum()
    assert torch.allclose(grid.weights[:, z, y, x], share @ weights[nearest], atol=1e-5)


def test_error_on_the_vertices_shrinks_with_resolution(body):
    vertices, weights = body.v_template, body.weights
    errors = [
        (look_up(skinning_grid(vertices, weights, n), vertices) - weights).abs().sum(1).mean().item()
        for n in (16, 32, 64)
    ]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.3  # fingers are thinner than a cell


def test_one_hot_weights_stay_one_hot():
    weights = torch.zeros(20, 3)
    weights[:, 1] = 1
    grid = skinning_grid(torch.from_numpy(np.random.default_rng(0).random((20, 3))).float(), weights, 4)
    assert torch.allclose(grid.weights[1], torch.ones(4, 4, 4)) and grid.weights[[0, 2]].max() == 0


def test_mouth_box_holds_teeth_and_lips_but_not_the_nose(body):
    regions = body.regions
    lower, upper = bounding_box(body.v_template[torch.cat([regions["teeth_upper"], regions["teeth_lower"]])])
    inside = ((body.v_template >= lower) & (body.v_template <= upper)).all(1)
    assert inside[regions["teeth_upper"]].all() and inside[regions["lip_inner_upper"]].all()
    assert not inside[body.vertex_joints[0]] and not inside[regions["left_eye"]].any()
    assert torch.allclose(bounding_box(SQUARE, 0.5)[0], torch.tensor([-0.5, -0.5, -0.5]))
