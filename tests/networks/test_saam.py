import torch

from talkingavatar.networks.audio import AudioAttention, AudioNet
from talkingavatar.networks.saam import ExternalAttention, SpatialAudioAttention
from talkingavatar.networks.triplane import TriplaneHash


def saam(channels=44):
    torch.manual_seed(0)
    return SpatialAudioAttention(channels, torch.zeros(3), torch.ones(3))


def test_triplane_has_the_published_number_of_parameters():
    planes = TriplaneHash()
    assert planes.table.numel() == 3 * 163_584  # of ER-NeRF's encoder at bound 1
    assert planes.features == 36


def test_triplane_interpolates_between_its_entries():
    planes = TriplaneHash(levels=1 + 1, base=4, finest=8, log2_table=14)
    torch.nn.init.normal_(planes.table)
    # On a node of the coarse level, the feature is that node's entry: x = 1/4, y = 2/4 of the XY plane.
    point = torch.tensor([[-0.5, 0.0, 0.0]])
    entry = planes.table[1 + 2 * 5, 0]
    torch.testing.assert_close(planes(point)[0, 0], entry)
    beside = planes(point + torch.tensor([[0.25, 0.0, 0.0]]))[0, 0]
    torch.testing.assert_close(beside, (entry + planes.table[2 + 2 * 5, 0]) / 2)


def test_compiled_and_plain_lookups_agree():
    planes = TriplaneHash(levels=3, base=8, finest=512, log2_table=10)
    torch.nn.init.normal_(planes.table)
    points = 1.3 * torch.rand(700, 3) - 0.6  # some outside
    weight = torch.randn(700, planes.features)
    results = []
    for lookup in (planes, planes.plain):
        planes.table.grad = None
        features = lookup(points)
        (features * weight).sum().backward()
        results.append((features, planes.table.grad))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


def test_triplane_hashes_fine_levels_inside_its_table():
    planes = TriplaneHash(levels=2, base=8, finest=512, log2_table=10)
    assert planes.hashed.tolist() == [False, True]
    assert planes(torch.rand(100, 3) * 2 - 1).isfinite().all()


def test_saam_starts_as_the_identity_and_learns_from_sound():
    module = saam()
    means, windows = torch.rand(9, 3) * 2 - 1, torch.randn(8, 16, 44)
    offsets = module(means, windows)
    assert [o.shape[1] for o in offsets] == [3, 4, 3]
    assert all((o == 0).all() for o in offsets)
    sum(o.sum() for o in offsets).backward()
    assert module.decoder[-1].weight.grad.abs().sum() > 0


def test_a_sound_makes_no_gaussian_more_than_twice_as_large():
    module = saam()
    torch.nn.init.constant_(module.decoder[-1].bias, 3.0)
    position, rotation, scale = module(torch.rand(9, 3) * 2 - 1, torch.randn(8, 16, 44))
    torch.testing.assert_close(scale.exp(), torch.full((9, 3), 2.0))
    torch.testing.assert_close((position, rotation), (torch.full((9, 3), 0.03), torch.full((9, 4), 3.0)))


def test_the_same_sound_moves_different_places_differently():
    module = saam()
    torch.nn.init.normal_(module.decoder[-1].weight)
    torch.nn.init.normal_(module.planes.table)
    moved, _, _ = module(torch.tensor([[-0.5, 0, 0], [0.5, 0.5, 0]]), torch.randn(8, 16, 44))
    assert (moved[0] - moved[1]).abs().max() > 1e-4


def test_attention_is_two_linear_maps_round_a_relu():
    attention = ExternalAttention(5, memory=7, channels=3)
    codes = torch.randn(4, 5)
    torch.testing.assert_close(attention(codes), (codes @ attention.keys.weight.T).relu() @ attention.values.weight.T)


def test_audio_attention_is_a_convex_combination():
    codes = torch.ones(8, 32) * 3
    torch.testing.assert_close(AudioAttention()(codes), torch.full((32,), 3.0))


def test_audio_net_takes_every_published_width():
    for channels in (29, 44, 1024):
        assert AudioNet(channels)(torch.randn(2, 16, channels)).shape == (2, 32)


def test_an_untrained_audio_net_tells_sounds_apart():
    """Codes of unlike sounds differ by about as much as the features do, so that a short training can hear."""
    torch.manual_seed(0)
    codes = AudioNet(44)(torch.randn(200, 16, 44))
    assert 0.2 < codes.std(0).mean() < 5


def test_a_point_that_is_none_reads_no_other_memory():
    """A crash here would take the whole fit with it; the loss says that something is no number."""
    planes = TriplaneHash(levels=3, base=8, finest=512, log2_table=10)
    points = torch.rand(4, 3) * 2 - 1
    expected = planes(points)
    features = planes(torch.cat([points, torch.full((1, 3), torch.nan), torch.full((1, 3), torch.inf)]))
    assert torch.equal(features[:4], expected) and features[4].isnan().all() and features[5].isfinite().all()
