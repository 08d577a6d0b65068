"""The free deformation by sound: the identity at first, and never deaf."""

import torch

from talkingavatar.networks.spatial_audio import OFFSETS, SpatialAudioDeformation


def made():
    torch.manual_seed(0)
    return SpatialAudioDeformation(44, 6, torch.full((3,), -0.1), torch.full((3,), 0.1))


def test_it_starts_as_the_identity():
    offsets = made()(torch.rand(5, 3) * 0.1, torch.randn(8, 16, 44), torch.rand(6))
    assert {name: value.shape[1] for name, value in offsets.items()} == OFFSETS
    assert not any(value.any() for value in offsets.values())


def test_it_hears_whatever_all_gaussians_share():
    """A shift that puts every unit of the decoder below zero does not end learning."""
    net = made()
    torch.nn.init.normal_(net.decoder[-1].weight)
    torch.nn.init.constant_(net.decoder[0].bias, -50.0)
    means, eyes = torch.rand(5, 3) * 0.1, torch.rand(6)
    first, second = (net(means, torch.randn(8, 16, 44), eyes)["means"] for _ in range(2))
    assert not torch.allclose(first, second, rtol=1e-3, atol=1e-7)
    first.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.encoder.parameters())


def test_it_attends_as_torch_does():
    net = made()
    codes, tokens = torch.randn(40, 64), torch.randn(3, 64)
    asked = torch.nn.functional.linear(codes, net.attention.in_proj_weight[:64], net.attention.in_proj_bias[:64])
    expected, _ = net.attention(codes[None], tokens[None], tokens[None], need_weights=False)
    torch.testing.assert_close(net._heard(asked, tokens), expected[0], atol=1e-5, rtol=1e-5)


def test_what_is_kept_between_frames_is_made_anew_when_something_has_changed():
    net = made()
    torch.nn.init.normal_(net.decoder[-1].weight)
    means, windows, eyes = torch.rand(5, 3) * 0.1, torch.randn(8, 16, 44), torch.rand(6)
    net.requires_grad_(False)
    with torch.no_grad():
        first, again = (net(means, windows, eyes)["means"] for _ in range(2))
        assert torch.equal(first, again)
        net.query.weight.mul_(-1)
        assert not torch.equal(first, net(means, windows, eyes)["means"])
        net.query.weight.mul_(-1)
        torch.testing.assert_close(first, net(means, windows, eyes)["means"])
        means.add_(0.05)
        assert not torch.equal(first, net(means, windows, eyes)["means"])
    net.requires_grad_(True)
    with_gradient = net(means, windows, eyes)["means"]
    with_gradient.sum().backward()
    assert net.query.weight.grad.any()
