import os
from pathlib import Path

import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.metrics.lpips import Lpips
from talkingavatar.networks.perceptual import find_backbone


def backbone(name):
    found = find_backbone(name)
    if found.path is None:
        pytest.skip(found.why_skipped)
    return found


@pytest.mark.parametrize("name", ["alex", "squeeze"])
def test_a_distance_of_real_weights(name):
    """Zero for equal pictures, more for more noise, and the same as the package computes from the same tensors."""
    metric = Lpips(backbone(name))
    torch.manual_seed(0)
    a = torch.rand(64, 64, 3)
    noise = torch.randn_like(a)
    little, much = ((a + s * noise).clamp(0, 1) for s in (0.05, 0.3))
    assert metric(a, a) == 0
    assert 0 < metric(a, little) < metric(a, much)
    x, y = ((i.permute(2, 0, 1)[None] * 2 - 1) for i in (a, much))
    assert metric(a, much) == pytest.approx(float(metric.network(x, y)))


def test_alex_agrees_with_a_computation_by_hand():
    """Convolutions spelt out with the file's tensors, and the linear heads read from the package's own file."""
    import lpips

    found = backbone("alex")
    weights = torch.load(found.path, weights_only=True)
    heads = torch.load(
        Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth", map_location="cpu", weights_only=True
    )
    torch.manual_seed(0)
    a = torch.rand(80, 72, 3)
    b = (a + 0.2 * torch.randn_like(a)).clamp(0, 1)

    def features(image):
        mean, std = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x = ((image * 2 - 1 - mean) / std).permute(2, 0, 1)[None]
        for layer, stride, padding, pool in ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False),
                                             (10, 1, 1, False)):  # fmt: skip
            x = torch.nn.functional.max_pool2d(x, 3, 2) if pool else x
            weight, bias = weights[f"features.{layer}.weight"], weights[f"features.{layer}.bias"]
            x = torch.nn.functional.conv2d(x, weight, bias, stride, padding).relu()
            yield x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)

    by_hand = 0.0
    for level, (x, y) in enumerate(zip(features(a), features(b), strict=True)):
        head = heads[f"lin{level}.model.1.weight"]
        by_hand += float(((x - y).square() * head).sum(1).mean())
    assert Lpips(found)(a, b) == pytest.approx(by_hand, rel=1e-4)


def test_the_backbone_is_the_files():
    """Every tensor of the network's backbone equals the one in the file."""
    found = backbone("alex")
    stored = torch.load(found.path, weights_only=True)
    loaded = Lpips(found).network.net.state_dict()
    assert len(loaded) == 10
    for key, value in loaded.items():
        assert torch.equal(value, stored["features." + key.split(".", 1)[1]])


def test_absent_weights_say_where_they_were_looked_for(tmp_path):
    found = find_backbone("vgg", str(tmp_path))
    assert found.path is None and str(tmp_path) in found.why_skipped


def test_foreign_weights_are_refused(tmp_path):
    file = tmp_path / "alexnet_features.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="alexnet_features"):
        Lpips(find_backbone("alex", str(tmp_path)))
    file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="alexnet_features"):
        Lpips(find_backbone("alex", str(tmp_path)))


def test_the_wrong_range_is_refused():
    metric = Lpips(backbone("alex"))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        metric(torch.rand(64, 64, 3) * 255, torch.rand(64, 64, 3))


def test_unknown_backbone():
    with pytest.raises(UserError, match=r"metrics\.lpips"):
        find_backbone("resnet")


def test_environment_folder_is_looked_in(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(tmp_path))
    (tmp_path / "vgg16_features.pth").write_bytes(b"")
    assert find_backbone("vgg").path == Path(os.environ["TALKINGAVATAR_WEIGHTS"]) / "vgg16_features.pth"
