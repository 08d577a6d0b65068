"""Action units off poses, and what they do to Gaussians."""

from dataclasses import replace

import pytest
import torch

from talkingavatar.body.action_units import NAMES, NamedFace
from talkingavatar.body.models import load_body
from talkingavatar.networks.unit_reader import NamedUnits, SeenUnits
from talkingavatar.networks.unit_residual import DIRECTION, MOST, UnitResidual


@pytest.fixture(scope="module")
def body(cache):
    return load_body("open_flame")


@pytest.fixture(scope="module")
def poses(body):
    torch.manual_seed(0)
    rest = body.zero_pose(200)
    full_pose = rest.full_pose.clone()
    full_pose[:, body.joint_names.index("jaw"), 0] = 0.3 * torch.rand(200)
    return replace(rest, expression=torch.rand_like(rest.expression), full_pose=full_pose)


def test_units_are_read_as_the_named_face_reads_them(body, poses):
    mixed = replace(poses, expression=1.6 * poses.expression - 0.2)  # beyond 0 to 1 on both sides
    expected = torch.from_numpy(NamedFace(body).units(mixed)).float()
    torch.testing.assert_close(NamedUnits(body)(mixed), expected, atol=1e-5, rtol=0)
    assert expected[:, :-1].max() == 5 and expected.min() == 0


def test_units_seen_beside_poses_are_told_of_others(body, poses):
    seen = NamedUnits(body)(poses)
    told = SeenUnits(body, poses[:150], seen[:150])(poses[150:])
    assert (told - seen[150:]).abs().mean() < 0.2 and told.min() >= 0 and told.max() <= 5


@pytest.mark.parametrize("networks", [False, True])
def test_units_change_nothing_at_first_and_never_much(networks):
    torch.manual_seed(0)
    residual = UnitResidual(networks, features=8)
    lines, units = residual.lines(20), 5 * torch.rand(17)
    assert lines.shape == (20, 8 if networks else DIRECTION, len(NAMES))
    at = (torch.rand(20, 3), torch.rand(20, 4)) if networks else ()
    assert not any(change.any() for change in residual(lines, units, *at).values())
    lines = 1e3 * torch.randn_like(lines)
    for layers in (residual.opacity, residual.rotation) if networks else ():
        torch.nn.init.normal_(layers[-1].weight)
    for name, change in residual(lines, units, *at).items():
        assert 0.9 * MOST[name] < change.abs().max() <= MOST[name]


@pytest.mark.parametrize("networks", [False, True])
def test_a_unit_learns_what_it_does_to_some_gaussians(networks):
    """Half of them fade as brows go down; another unit leaves all as they are."""
    torch.manual_seed(0)
    residual = UnitResidual(networks, features=8)
    lines = torch.nn.Parameter(residual.lines(20))
    at = (torch.rand(20, 3), torch.rand(20, 4)) if networks else ()
    fades = (torch.arange(20) % 2).float()
    optimiser = torch.optim.Adam([lines, *residual.parameters()], 1e-2)
    down, wide = NAMES.index("AU04"), NAMES.index("AU12")
    for step in range(300):
        units = torch.zeros(17)
        units[(down, wide)[step % 2]] = 5 * torch.rand(())
        optimiser.zero_grad()
        (residual(lines, units, *at)["opacities"][:, 0] + fades * units[down] / 5).square().mean().backward()
        optimiser.step()
    shown = residual(lines, 4 * torch.eye(17)[down], *at)["opacities"][:, 0]
    torch.testing.assert_close(shown, -0.8 * fades, atol=0.25, rtol=0)
