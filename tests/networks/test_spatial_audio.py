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
