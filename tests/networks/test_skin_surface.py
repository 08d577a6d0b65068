"""Gaussians on a skin: where they stand, where they walk to, and how the skin deforms there."""

import pytest
import torch
from scipy.spatial import ConvexHull, Delaunay
from torch.nn.functional import normalize

from talkingavatar.geometry.rotations import axis_angle_to_matrix, quat_to_matrix
from talkingavatar.geometry.triangles import closest_on_triangles
from talkingavatar.networks.footing import FAR, Footing
from talkingavatar.networks.placing import Local
from talkingavatar.networks.skin_surface import (
    SkinGradient,
    SkinSurface,
    carried,
    carried_plain,
    nearest_shares,
    stretched,
)
from talkingavatar.splatting.cpu.launch import set_threads


def some(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def ball():
    """Vertices on the unit sphere and its outward triangles."""
    vertices = normalize(some(200, 3), dim=-1)
    faces = torch.from_numpy(ConvexHull(vertices.double().numpy()).simplices).long()
    a, b, c = vertices[faces].unbind(1)
    inward = (torch.linalg.cross(b - a, c - a) * a).sum(-1) < 0
    return vertices, torch.where(inward[:, None], faces.flip(1), faces)


def test_the_nearest_point_of_a_triangle_is_no_farther_than_any_other_of_it():
    corners, points = some(300, 3, 3), 2 * some(300, 3, seed=1)
    corners[:20, 2] = corners[:20, 0]  # of no area
    shares = closest_on_triangles(points, corners)
    torch.testing.assert_close(shares.sum(-1), torch.ones(300))
    assert (shares >= 0).all()
    found = ((shares[:, None] @ corners)[:, 0] - points).norm(dim=-1)
    others = torch.distributions.Dirichlet(torch.full((3,), 0.4)).sample((500,))  # many of them on the edges
    least = torch.cdist(others @ corners, points[:, None])[..., 0].amin(1)
    assert (found <= least + 1e-5).all() and (found > least - 0.3).all()


def test_compiled_and_plain_nearest_points_agree():
    vertices, corners, points = some(50, 3), torch.randint(0, 50, (2000, 3)), some(2000, 3, seed=1)
    plain = closest_on_triangles(points, vertices[corners])
    ours = nearest_shares(points, vertices, corners)

    def distances(shares):
        return ((shares[:, None] @ vertices[corners])[:, 0] - points).norm(dim=-1)

    torch.testing.assert_close(distances(ours), distances(plain), atol=1e-4, rtol=1e-4)


def test_a_walk_on_a_ball_ends_at_the_nearest_triangle_of_all(ball):
    surface = SkinSurface(*ball)
    points = 1.3 * normalize(some(40, 3, seed=2), dim=-1)
    face = surface.walk(points, torch.zeros(40, dtype=torch.long))
    every = points.repeat_interleave(len(ball[1]), 0)
    footing = surface.footing(every, torch.arange(len(ball[1])).repeat(40))
    least = surface.height(every, footing).norm(dim=-1).view(40, -1).amin(1)
    here = surface.height(points, surface.footing(points, face)).norm(dim=-1)
    torch.testing.assert_close(here, least)


def test_a_walk_does_not_leap_to_another_part(ball):
    """However near that lies."""
    vertices, faces = ball
    both = SkinSurface(torch.cat([vertices, 0.9 * vertices]), torch.cat([faces, faces + len(vertices)]))
    points = 0.9 * normalize(some(40, 3, seed=2), dim=-1)
    assert (both.walk(points, torch.zeros(40, dtype=torch.long)) < len(faces)).all()
    assert (both.walk(points, torch.full((40,), len(faces))) >= len(faces)).all()


def test_an_even_deformation_is_found_along_the_skin_and_normals_stay_normals():
    turn, across = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.2])), some(60, 2)
    vertices = torch.cat([across, torch.zeros(60, 1)], 1) @ turn.T  # a flat patch
    faces = torch.from_numpy(Delaunay(across.double().numpy()).simplices).long()
    gradient = SkinGradient(vertices, faces, torch.ones(60, dtype=torch.bool))
    affine = some(3, 3, seed=4)
    found = gradient(vertices @ affine.T - vertices)
    along = affine @ gradient.tangents
    torch.testing.assert_close(found @ gradient.tangents, along, atol=2e-3, rtol=2e-3)
    moved = (found @ gradient.normals[..., None])[..., 0]
    torch.testing.assert_close(moved.norm(dim=-1), torch.ones(60))
    torch.testing.assert_close(moved[:, None] @ along, torch.zeros(60, 1, 2), atol=5e-3, rtol=0)


def test_only_skin_that_moves_has_rows(ball):
    vertices, faces = ball
    moving = vertices[:, 1] > 0.5
    gradient = SkinGradient(vertices, faces, moving)
    touched = torch.zeros(200, dtype=torch.bool).scatter(0, faces[moving[faces].any(1)].flatten(), True)
    assert torch.equal(gradient.row >= 0, touched) and len(gradient(torch.zeros(200, 3))) == int(touched.sum())
    torch.testing.assert_close(gradient(torch.zeros(200, 3)), torch.eye(3).expand(int(touched.sum()), 3, 3))


def test_a_gaussian_stretched_along_its_axes_keeps_them():
    quats, scales, factors = normalize(some(9, 4), dim=-1), some(9, 3, seed=1).exp(), some(9, 3, seed=2).exp()
    axes = quat_to_matrix(quats)
    turn = axis_angle_to_matrix(some(9, 3, seed=3))
    gradient = turn @ axes @ torch.diag_embed(factors) @ axes.mT
    turned, longer = stretched(quats, scales, gradient)
    torch.testing.assert_close(quat_to_matrix(turned), turn @ axes, atol=1e-4, rtol=0)
    torch.testing.assert_close(longer, factors * scales)


@pytest.fixture(scope="module")
def standing(ball):
    """Gaussians over the upper half of a small ball, which deforms, some too high to go along; half are chosen."""
    vertices, faces = ball[0] * 0.05, ball[1]
    gradient = SkinGradient(vertices, faces, vertices[:, 1] > 0)
    corners = faces[(vertices[:, 1] > 0)[faces].any(1)].repeat(9, 1)
    footing = Footing(corners, some(len(corners), 3, seed=5).softmax(-1))
    means = footing.of(vertices) * (1 + 0.4 * torch.rand(len(corners), 1, generator=torch.Generator().manual_seed(1)))
    local = Local(means, some(len(corners), 4, seed=6), some(len(corners), 3, seed=7).exp())
    height = (means - footing.of(vertices)).norm(dim=-1)
    assert (height > FAR).any() and (height < FAR).any()
    return vertices, gradient, footing, local


def learned(deform, carry, standing):
    """What Gaussians become, and the gradients of what is learned."""
    vertices, gradient, footing, local = standing
    leaves = [x.clone().requires_grad_() for x in (*local, 0.01 * some(200, 3, seed=9))]
    chosen = torch.arange(0, len(leaves[0]), 2)
    out = carry(Local(*leaves[:3]), chosen, footing, vertices, gradient.row, deform(gradient)(leaves[3]))
    sum((x * some(*x.shape, seed=i)).sum() for i, x in enumerate(out)).backward()
    return [*out, *(leaf.grad for leaf in leaves)]


def test_compiled_and_plain_gaussians_on_a_skin_agree(standing):
    ours = learned(lambda gradient: gradient, carried, standing)
    plain = learned(lambda gradient: gradient.plain, carried_plain, standing)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.detach().abs().max()))
    assert all((x[1::2] == y[1::2]).all() for x, y in zip(ours[:3], standing[3], strict=True))


def test_on_a_skin_the_number_of_threads_changes_no_bit(standing):
    results = []
    try:
        for threads in (1, 3):
            set_threads(threads)
            results.append(learned(lambda gradient: gradient, carried, standing))
    finally:
        set_threads(None)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_compiled_and_plain_values_of_where_one_stands_agree():
    footing = Footing(torch.randint(0, 50, (300, 3)), some(300, 3).softmax(-1))
    values = some(50, 2, seed=1)
    learned = footing.of(values.clone().requires_grad_())
    torch.testing.assert_close(footing.of(values), learned.detach())
