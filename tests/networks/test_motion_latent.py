"""From latents to a rig, to what Gaussians do beyond it, and what judges patches."""

import pytest
import torch

from talkingavatar.networks.latent_mapper import LatentMapper
from talkingavatar.networks.latent_residual import ATTRIBUTES, OWN, LatentResidual, by_attribute
from talkingavatar.networks.patch_critic import PatchCritic
from talkingavatar.networks.residual import encoded


def test_a_warm_mapper_knows_a_linear_rig_at_once_and_one_from_scratch_its_mean():
    torch.manual_seed(0)
    codes = torch.randn(400, 5) * torch.tensor([1.0, 2.0, 0.1, 1.0, 3.0]) + 0.3
    values = codes @ torch.randn(5, 7) + torch.randn(7)
    warm, scratch = (LatentMapper(codes, values, way) for way in (True, False))
    assert (warm(codes) - values).std() < 0.02 * values.std()
    assert torch.equal(scratch.linear.weight, torch.zeros(7, 5))
    torch.testing.assert_close(scratch.linear.bias, values.mean(0))
    optimiser = torch.optim.Adam(scratch.parameters(), 3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        (scratch(codes) - values).square().mean().backward()
        optimiser.step()
    assert (scratch(codes) - values).std() < 0.15 * values.std()


def test_single_moves_tell_apart_what_frames_only_show_together():
    torch.manual_seed(0)
    rig = torch.randn(3, 6)  # what each of three parts does to a code
    smiles = torch.rand(200, 1)
    values = torch.cat([smiles, smiles, torch.rand(200, 1)], 1)  # whoever does the first does the second
    moves = (rig, torch.eye(3))
    frames, told = LatentMapper(values @ rig, values, True), LatentMapper(values @ rig, values, True, moves)
    for mapper, worst in ((frames, 0.9), (told, 0.1)):
        answered = mapper(values[:1] @ rig + rig[:1]) - mapper(values[:1] @ rig)
        off = (answered - torch.tensor([[1.0, 0.0, 0.0]])).abs().max()
        assert off < worst and (off > 0.3 or mapper is told)
    assert (told(values @ rig) - values).std() < 0.05 * values.std()


@pytest.mark.parametrize("basis", [True, False])
def test_a_latent_changes_nothing_at_first_and_learns_what_depends_on_it(basis):
    torch.manual_seed(0)
    codes = torch.randn(50, 4)
    residual = LatentResidual(codes, basis)
    places, own = torch.rand(30, 3) * 2 - 1, torch.zeros(30, OWN)
    start = by_attribute(residual(places, own, codes[0]))
    assert {name: tuple(change.shape) for name, change in start.items()} == {n: (30, w) for n, w in ATTRIBUTES.items()}
    assert all(not change.any() for change in start.values())

    def wanted(code):  # the left half goes with the first number
        return torch.where(places[:, :1] < 0, code[0], torch.zeros(())).expand(-1, 3)

    optimiser = torch.optim.Adam(residual.parameters(), 3e-3)
    for step in range(400):
        optimiser.zero_grad()
        code = codes[step % 40]
        (by_attribute(residual(places, own, code))["means"] - wanted(code)).square().mean().backward()
        optimiser.step()
    left = places[:, 0] < -0.2
    with torch.no_grad():
        learned = torch.stack([by_attribute(residual(places, own, code))["means"][left].mean() for code in codes[40:]])
    assert torch.corrcoef(torch.stack([learned, codes[40:, 0]]))[0, 1] > 0.9


def test_kept_directions_give_what_those_made_anew_do():
    residual = LatentResidual(torch.randn(20, 4), basis=True)
    torch.nn.init.normal_(residual.network[-1].weight)
    places, own, code = torch.rand(10, 3), torch.randn(10, OWN), torch.randn(4)
    anew = by_attribute(residual(places, own, code))["means"]
    residual.requires_grad_(False)
    with torch.no_grad():
        kept = [by_attribute(residual(places, own, code))["means"] for _ in range(2)]
        own += 1
        changed = by_attribute(residual(places, own, code))["means"]
    assert torch.equal(kept[0], kept[1]) and not torch.allclose(changed, kept[0])
    torch.testing.assert_close(kept[0], anew.detach())


@pytest.mark.parametrize("basis", [True, False])
def test_a_code_beyond_those_of_the_frames_does_no_more_than_they(basis):
    codes = torch.randn(60, 4)
    residual = LatentResidual(codes, basis)
    torch.nn.init.normal_(residual.network[-1].weight)
    places, own, far = torch.rand(10, 3), torch.randn(10, OWN), 9 * codes.abs().amax(0)
    inside = [by_attribute(residual(places, own, code))["means"] for code in (codes[0], far, 3 * far)]
    assert torch.equal(inside[1], inside[2]) and not torch.equal(inside[0], inside[1])


def test_what_no_code_excites_changes_nothing():
    """Frames tell what some directions of a code do; the others are not to be answered with chance."""
    codes = torch.zeros(50, 24)
    codes[:, :3] = torch.randn(50, 3)
    residual = LatentResidual(codes, basis=True)
    torch.nn.init.normal_(residual.network[-1].weight, std=0.1)
    places, own, mean = torch.rand(5, 3), torch.randn(5, OWN), codes.mean(0)
    told = [residual(places, own, mean + 0.01 * torch.eye(24)[i]).abs().max().item() for i in (1, 20)]
    assert told[0] > 1e-3 and told[1] < 1e-6 and not residual(places, own, mean).any()


def test_octaves_tell_near_places_apart():
    near = encoded(torch.tensor([[0.0, 0.0, 0.0], [0.02, 0.0, 0.0]]))
    assert near.shape == (2, 27) and (near[0] - near[1]).norm() > 10 * 0.02


def test_a_critic_learns_to_tell_noise_from_stripes_and_says_which_way_out():
    torch.manual_seed(0)
    stripes = (torch.arange(32) % 4 < 2).float().view(1, 1, 32, 1).expand(2, 32, 32, 3)
    critic = PatchCritic()
    optimiser = torch.optim.Adam(critic.parameters(), 1e-3)
    for _ in range(20):
        optimiser.zero_grad()
        critic.loss(torch.rand(2, 32, 32, 3), stripes).backward()
        optimiser.step()
    noise = torch.rand(2, 32, 32, 3, requires_grad=True)
    assert critic.loss(noise, stripes) < 1 and critic.deceived(stripes) < critic.deceived(noise)
    (way,) = torch.autograd.grad(critic.deceived(noise), noise)
    assert critic.deceived(noise - 10 * way) < critic.deceived(noise)
