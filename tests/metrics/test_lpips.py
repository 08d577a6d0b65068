import os
from pathlib import Path

import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.metrics.lpips import Lpips, find_backbone


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
