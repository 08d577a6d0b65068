import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.losses import edge_difference
from talkingavatar.training.likeness import Likeness


def test_without_a_backbone_edges_are_compared(monkeypatch, tmp_path):
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    a, b = torch.rand(2, 16, 16, 3), torch.rand(2, 16, 16, 3)
    for wanted in ("auto", "edges"):
        likeness = Likeness(wanted)
        assert likeness.name == "edges" and torch.equal(likeness(a, b), edge_difference(a, b))
    with pytest.raises(UserError, match=r"method.options.perceptual: found no squeezenet.*doctor fetch=lpips_squeeze"):
        Likeness("squeeze")


def test_what_has_no_weight_is_taken_for_right():
    likeness, a, b = Likeness("edges"), torch.rand(1, 16, 16, 3), torch.rand(1, 16, 16, 3)
    left = torch.zeros(1, 16, 16, 1)
    left[:, :, :8] = 1
    assert likeness(a, b, torch.zeros_like(left)).item() == 0
    spoilt = torch.where(left.bool(), a, torch.rand(1, 16, 16, 3))
    assert torch.equal(likeness(a, b, left), likeness(spoilt, b, left))


def test_a_patch_is_seen_and_in_time_all_of_the_picture():
    torch.manual_seed(0)
    likeness, target = Likeness("edges", patch=8), torch.zeros(1, 16, 16, 1).expand(1, 16, 16, 3)
    corner = target.clone()
    corner[:, 1, 1] = 1
    found = torch.cat([likeness(corner, target) for _ in range(60)])
    assert 0 < (found > 0).float().mean() < 0.5
    assert torch.equal(Likeness("edges", patch=32)(corner, target), Likeness("edges")(corner, target))
