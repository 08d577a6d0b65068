"""LivePortrait's networks and the files they are read from."""

import os
import pickle

import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.networks.live_portrait import Motion, MotionExtractor, Stitching, angles_of, rotation
from talkingavatar.networks.live_portrait.blocks import SpectralConv
from talkingavatar.networks.live_portrait.files import NETWORKS, STITCHING, complete, find_live_portrait
from talkingavatar.networks.live_portrait.motion import BINS, expected_angle
from talkingavatar.networks.live_portrait.warping import DenseMotion
from tests.live_portrait_weights import TINY, states, write_flat, write_published

# Tensors and numbers in the published files, and keys that they have with their shapes.
PUBLISHED = {
    "appearance_feature_extractor": (107, 837_903, "first.conv.weight", (64, 3, 3, 3)),
    "motion_extractor": (212, 28_118_728, "detector.stages.2.8.grn.gamma", (1, 1, 1, 1536)),
    "warping_module": (97, 45_536_598, "dense_motion_network.hourglass.encoder.down_blocks.4.conv.bias", (1024,)),
    "spade_generator": (182, 55_438_348, "up_1.conv_s.weight_orig", (64, 256, 1, 1)),
    STITCHING: (28, 227_263, "retarget_eye.mlp.10.weight", (63, 64)),
}


@pytest.fixture
def files(tmp_path):
    return find_live_portrait(str(write_published(tmp_path)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_and_shapes_are_the_published_ones(name):
    with torch.device("meta"):
        state = NETWORKS[name]().state_dict()
    tensors, numbers, key, shape = PUBLISHED[name]
    assert (len(state), sum(value.numel() for value in state.values())) == (tensors, numbers)
    assert tuple(state[key].shape) == shape


def test_both_layouts_give_the_same_networks(tmp_path, files):
    flat = tmp_path / "liveportrait"
    flat.mkdir()
    other = find_live_portrait(str(write_flat(flat).parent))
    assert {path.suffix for path in other.paths.values()} == {".safetensors"}  # rather than what may hold code
    for name in NETWORKS:
        a, b = (found.load(name, TINY).state_dict() for found in (files, other))
        assert all(torch.equal(a[key], b[key]) for key in a)
        assert all(torch.equal(a[key], value) for key, value in states()[name].items())


def test_what_is_not_there_is_named(tmp_path):
    write_published(tmp_path)
    (tmp_path / "warping_module.pth").unlink()
    files = find_live_portrait(str(tmp_path))
    assert files.missing == ["warping_module"]
    with pytest.raises(UserError, match=r"no warping_module .*source=mesh_code"):
        complete(files)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("motion_extractor", lambda s: s.pop("detector.fc_t.bias"), r"1 keys missing \(detector.fc_t.bias\)"),
        ("spade_generator", lambda s: s.update(extra=torch.zeros(1)), r"1 keys too many \(extra\)"),
        (
            "warping_module",
            lambda s: s.update({"fourth.bias": torch.zeros(3)}),
            r"another shape fourth.bias \(3,\) float32; expected .*fourth.bias \(16,\) float32",
        ),
        (STITCHING, lambda s: s.pop("retarget_mouth.mlp.0.bias"), "missing .retarget_mouth.mlp.0.bias"),
        ("appearance_feature_extractor", lambda s: s.update({"second.bias": "x"}), "second.bias 'x'"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path, name, change, line):
    given = states()
    change(given[name])
    files = find_live_portrait(str(write_published(tmp_path, given)))
    with pytest.raises(UserError, match=line) as error:
        files.load(name, TINY)
    assert f"{name}.pth: found" in str(error.value) and "\n" not in str(error.value)


class Malicious:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (os.mkdir, (str(self.file),))


@pytest.mark.parametrize("save", [torch.save, lambda it, file: file.write_bytes(pickle.dumps(it, 2))])
def test_a_pickle_never_runs(tmp_path, save):
    write_published(tmp_path)
    ran = tmp_path / "ran"
    save({"first.conv.weight": Malicious(ran)}, tmp_path / "motion_extractor.pth")
    with pytest.raises(UserError, match=r"would run code .posix.mkdir.") as error:
        find_live_portrait(str(tmp_path)).load("motion_extractor", TINY)
    assert not ran.exists() and "\n" not in str(error.value)


def test_angles_turn_points_and_come_back():
    angles = torch.tensor([[0.3, -0.5, 0.2], [-0.1, 0.4, -0.6]])
    turns = rotation(angles)
    assert torch.allclose(turns @ turns.mT, torch.eye(3).expand(2, 3, 3), atol=1e-6)
    assert torch.allclose(angles_of(turns), angles, atol=1e-6)
    quarter = rotation(torch.tensor([[0.0, torch.pi / 2, 0.0]]))
    assert torch.allclose(torch.tensor([0.0, 0.0, 1.0]) @ quarter[0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6)


def test_an_angle_is_what_its_bins_expect():
    scores = torch.full((1, BINS), -50.0)
    scores[0, 40] = 50.0
    assert torch.rad2deg(expected_angle(scores)) == pytest.approx(40 * 3 - 97.5)
    assert torch.rad2deg(expected_angle(torch.zeros(1, BINS))) == pytest.approx(0, abs=1e-4)


def test_depth_of_a_shift_moves_nothing():
    kp = torch.randn(1, 21, 3)
    still = Motion(kp, torch.zeros(1, 21, 3), torch.ones(1, 1), torch.zeros(1, 3), torch.zeros(1, 3))
    moved = still._replace(t=torch.tensor([[0.1, -0.2, 5.0]]))
    assert torch.equal(still.points(), kp)
    assert torch.allclose(moved.points() - kp, torch.tensor([0.1, -0.2, 0.0]).expand(21, 3), atol=1e-6)


def test_one_keypoint_for_all_carries_the_volume_along():
    torch.manual_seed(0)
    dense = DenseMotion(TINY).eval().requires_grad_(False)
    volume, points = torch.randn(1, TINY.volume, TINY.depth, 8, 8), torch.rand(1, 21, 3) - 0.5
    still, _ = dense(volume, points, points)
    ticks = torch.linspace(-1, 1, 8)
    assert torch.allclose(still[0, 0, 0, :, 0], ticks, atol=1e-5) and torch.allclose(
        still[0, 0, :, 0, 1], ticks, atol=1e-5
    )
    dense.mask.weight.zero_()
    dense.mask.bias.copy_(torch.tensor([-50.0, *[0.0] * 21]))  # all but what stays
    moved, seen = dense(volume, points, points + torch.tensor([0.25, 0.0, 0.0]))
    assert torch.allclose(moved, still - torch.tensor([0.25, 0.0, 0.0]), atol=1e-5)
    assert float(seen.min()) > 0 and float(seen.max()) < 1


def test_a_spectral_convolution_has_norm_one():
    conv = SpectralConv(4, 6, 1).requires_grad_(False)
    u, s, v = torch.linalg.svd(conv.weight_orig.flatten(1), full_matrices=False)
    conv.weight_u.copy_(u[:, 0])
    conv.weight_v.copy_(v[0])
    x = v[0][None, :, None, None]
    assert conv(x).norm() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(conv(x) * s[0], torch.nn.functional.conv2d(x, conv.weight_orig), atol=1e-5)


def test_stitching_adds_what_it_says():
    stitching = Stitching(TINY).requires_grad_(False)
    last = stitching.retarget_shoulder.mlp[-1]
    last.weight.zero_()
    last.bias.zero_()
    last.bias[-2:] = torch.tensor([0.1, -0.3])
    source, driven = torch.randn(2, 1, 21, 3)
    assert torch.allclose(stitching(source, driven) - driven, torch.tensor([0.1, -0.3, 0.0]).expand(21, 3), atol=1e-6)


def test_motion_is_read_off_pictures():
    torch.manual_seed(1)
    motion = MotionExtractor(TINY).eval()(torch.rand(2, 3, 32, 32))
    assert motion.kp.shape == motion.exp.shape == (2, 21, 3)
    assert motion.angles.abs().max() < 0.2  # from bins that know nothing yet
