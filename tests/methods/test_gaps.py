"""Which triangles of a skin have a gap that is to be closed."""

import pytest
import torch

from talkingavatar.methods.gaps import colours_around, folded, gaps, let_through, pixel_at, seen_aslant
from talkingavatar.networks.placing import Local
from talkingavatar.types import Batch, BodyPose, Cameras, DrivingSignal

SIDE, STEP = 12, 0.01  # squares along a sheet, metres of each


def sheet(height=0.0, down=False):
    """Vertices and triangles of a square sheet that faces up (z), or down."""
    line = torch.arange(SIDE + 1) * STEP
    x, y = torch.meshgrid(line, line, indexing="ij")
    number = torch.arange((SIDE + 1) ** 2).view(SIDE + 1, SIDE + 1)
    a, b, c, d = (n.flatten() for n in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    return torch.stack([x, y, torch.full_like(x, height)], -1).view(-1, 3), faces.flip(1) if down else faces


def on(centres, turn=(1.0, 0.0, 0.0, 0.0), thin=0.01):
    """A wide Gaussian on each place."""
    scales = torch.tensor([STEP, STEP, thin * STEP]).repeat(len(centres), 1)
    return Local(centres, torch.tensor(turn).repeat(len(centres), 1), scales)


@pytest.mark.parametrize("thin", [0.01, 1.0])
def test_a_plane_with_a_hole_gets_the_triangles_of_the_hole(thin):
    vertices, faces = sheet()
    corners = vertices[faces]
    centres = corners.mean(1)
    hole = (centres[:, :2] - SIDE * STEP / 2).norm(dim=-1) < 4 * STEP
    there = on(centres[~hole], thin=thin)
    opacities = torch.full((len(there.means),), 0.9)
    every = torch.ones_like(hole)
    found = gaps(corners, every, there, opacities, len(faces))
    # Those at the rim are covered by what stands beside it.
    inner = (centres[:, :2] - SIDE * STEP / 2).norm(dim=-1) < 2 * STEP
    assert set(inner.nonzero()[:, 0].tolist()) <= set(found.tolist()) <= set(hole.nonzero()[:, 0].tolist())


def test_light_is_what_each_on_its_way_lets_through():
    """Surfel or ellipsoid: what its picture from there has at the ray. One that turns its back is not drawn."""
    point, up, offset = torch.zeros(1, 3), torch.tensor([[0.0, 0, 1]]), torch.tensor([[0.006, 0.008, 0.002]])
    left = 1 - 0.8 * torch.tensor(-(0.01**2) / (2 * STEP**2)).exp()
    for thin in (0.001, 1.0):
        one = let_through(point, up, on(offset, thin=thin), torch.tensor([0.8]))
        two = let_through(point, up, on(offset.repeat(2, 1), thin=thin), torch.tensor([0.8, 0.8]))
        torch.testing.assert_close(torch.cat([one, two]), torch.stack([left, left**2]))
    assert let_through(point, up, on(offset, turn=(0.0, 1.0, 0.0, 0.0)), torch.tensor([0.8])) == 1
    # Far off the ray in its own extents, but not in pixels.
    small = on(offset)._replace(scales=torch.full((1, 3), 1e-4))
    left = 1 - 0.8 * torch.tensor(-(0.01**2) / 0.02**2).exp()
    assert let_through(point, up, small, torch.tensor([0.8]), pixel=0.02).item() == pytest.approx(left.item())
    assert let_through(point, up, small, torch.tensor([0.8])) == 1
    # Turned by 60 degrees about x, it is met where it comes up to the ray: twice as far along its own y.
    tilted = on(torch.tensor([[0.0, 0.002, 0.0]]), turn=(0.75**0.5, 0.5, 0.0, 0.0), thin=0.0001)
    met = 1 - 0.8 * torch.tensor(-(0.004**2) / (2 * STEP**2)).exp()
    assert let_through(point, up, tilted, torch.tensor([0.8])).item() == pytest.approx(met.item(), rel=1e-4)


@pytest.mark.parametrize(("apart", "fold"), [(0.012, True), (0.05, False)])
def test_a_fold_is_skin_with_other_skin_close_above_it(apart, fold):
    (low, up), (high, down) = sheet(), sheet(apart, down=True)
    corners = torch.cat([low[up], high[down]])
    every = torch.arange(len(corners))
    assert folded(corners, every).eq(fold).all()
    nothing = on(torch.full((1, 3), 9.0))
    found = gaps(corners, torch.ones(len(corners), dtype=torch.bool), nothing, torch.ones(1), len(corners))
    assert len(found) == (0 if fold else len(corners))
    assert not folded(sheet()[0][up], torch.arange(len(up))).any()


def test_the_most_open_come_first():
    vertices, faces = sheet()
    corners = vertices[faces]
    cover = on(corners.mean(1))
    opacities = 0.2 * torch.rand(len(faces), generator=torch.Generator().manual_seed(0))
    light = let_through(corners.mean(1), torch.tensor([0.0, 0, 1]).repeat(len(faces), 1), cover, opacities)
    wanted = light > 0.3
    found = gaps(corners, torch.ones_like(wanted), cover, opacities, 5)
    assert len(found) == 5 < wanted.sum() and set(found.tolist()) == set(light.argsort()[-5:].tolist())


def test_what_a_camera_looks_straight_at_is_left_to_it():
    """A sheet before a camera is; one that it covers, a wall seen at 60 degrees are not; nor what is in no picture."""
    (front, up), (behind, _) = sheet(), sheet(-0.05)
    slope = front @ torch.tensor([[0.5, 0, 0.75**0.5], [0, 1, 0], [-(0.75**0.5), 0, 0.5]]) + torch.tensor([0.2, 0, 0])
    vertices, count = torch.cat([front, behind, slope, front + 9]), len(front)
    view = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[:3, 3] = torch.tensor([-0.1, 0.06, 3.0])
    cameras = Cameras(view[None], torch.tensor([[[800.0, 0, 128], [0, 800, 128], [0, 0, 1]]]), 256, 256)
    still = BodyPose(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1, 3), torch.zeros(1, 3))
    picture = torch.zeros(1, 256, 256, 3)
    batch = Batch(DrivingSignal(torch.zeros(1).long(), still), cameras, picture, picture[..., :1], torch.ones(3))
    faces = torch.cat([up + i * count for i in range(4)])
    aslant = seen_aslant(batch, [vertices], faces).view(4, -1)
    assert aslant[1:3].all() and not aslant[0].any() and not aslant[3].any()
    assert pixel_at(front, cameras) == pytest.approx(3 / 800)


def test_a_colour_comes_from_ones_own_part():
    places = torch.tensor([[0.1, 0, 0], [0.2, 0, 0]])
    inside = {"head": torch.tensor([True, False]), "body": torch.tensor([False, True])}
    known = {"head": torch.tensor([True, False, False]), "body": torch.tensor([False, False, True])}
    near = on(torch.tensor([[0.5, 0, 0], [0.1, 0, 0], [0.6, 0, 0]]))
    found = colours_around(places, inside, near, torch.eye(3), known)
    torch.testing.assert_close(found, torch.eye(3)[[0, 2]])
