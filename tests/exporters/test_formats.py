"""What is written is read as the same Gaussians by a program that others wrote."""

import json
import struct
from dataclasses import replace

import gaussforge
import numpy as np
import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.exporters.glb import NAME, glb
from talkingavatar.exporters.sog import sog
from talkingavatar.exporters.splat import splat
from talkingavatar.exporters.spz import spz
from talkingavatar.exporters.static import settled, surfels, turned
from talkingavatar.geometry.spherical_harmonics import sh_to_rgb
from talkingavatar.splatting.files import ply, read_ply
from tests.splatting.scenes import cloud

# At most, by attribute: places (metres), log scales, opacities, constant coefficients, 1 - |cosine| of half the turn.
LOSSES = {
    "ply": (1e-6, 1e-5, 1e-6, 1e-6, 1e-6),
    "splat": (1e-6, 1e-5, 0.5 / 255 + 1e-5, 0.5 / 255 / 0.28 + 1e-4, 1e-4),
    "spz": (1e-6, 0.5 / 16 + 1e-4, 0.5 / 255 + 1e-5, 0.5 / 255 / 0.15 + 1e-4, 1e-5),
    "sog": (5e-5, 0.05, 0.5 / 255 + 1e-5, 0.2, 1e-4),
}


@pytest.fixture(scope="module")
def gaussians():
    return settled(cloud(300))


def written(name, gaussians):
    writers = {"ply": ply, "splat": splat, "spz": spz, "sog": lambda g: sog(g, surfels=False)}
    return writers[name](gaussians)


@pytest.mark.parametrize("name", LOSSES)
def test_others_read_the_same_gaussians(tmp_path, gaussians, name):
    read = gaussforge.GaussForge().convert(written(name, gaussians), name, "ply")
    (tmp_path / "read.ply").write_bytes(read["data"])
    back = read_ply(tmp_path / "read.ply")
    apart = (gaussians.means[:, None] - back.means).square().sum(-1)
    nearest = apart.argmin(1)
    assert sorted(nearest.tolist()) == list(range(300))
    back = type(back)(**{key: value[nearest] for key, value in vars(back).items()})
    turn = torch.nn.functional.normalize(back.quats, dim=1)
    found = (
        (back.means - gaussians.means).abs().max(),
        (back.scales / gaussians.scales).log().abs().max(),
        (back.opacities - gaussians.opacities).abs().max(),
        (back.sh - gaussians.sh).abs().max(),
        (1 - (turn * gaussians.quats).sum(1).abs()).max(),
    )
    assert all(lost <= most for lost, most in zip(map(float, found), LOSSES[name], strict=True)), found


def test_harmonics_come_through_a_spz_in_their_buckets(tmp_path):
    gaussians = settled(cloud(50, 2))
    read = gaussforge.GaussForge().convert(spz(gaussians), "spz", "ply")
    (tmp_path / "read.ply").write_bytes(read["data"])
    back = read_ply(tmp_path / "read.ply").sh
    inside = gaussians.sh[:, 1:].clamp(-1, 127 / 128)
    assert (back[:, 1:4] - inside[:, :3]).abs().max() <= 4.01 / 128
    assert (back[:, 4:] - inside[:, 3:]).abs().max() <= 8.01 / 128


def test_a_glb_has_the_columns_that_it_says():
    gaussians = settled(cloud(40, 1))
    data = glb(gaussians, {"use": "free"})
    magic, version, length, size, kind = struct.unpack_from("<4sIIII", data)
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), 0x4E4F534A) and len(data) % 4 == 0
    document, binary = json.loads(data[20 : 20 + size]), data[28 + size :]
    assert document["asset"]["extras"]["use"] == "free" and document["extensionsUsed"] == [NAME]
    (primitive,) = document["meshes"][0]["primitives"]
    assert primitive["mode"] == 0 and primitive["extensions"][NAME]["kernel"] == "ellipse"

    def column(name):
        accessor = document["accessors"][primitive["attributes"][name]]
        view = document["bufferViews"][accessor["bufferView"]]
        values = np.frombuffer(binary, "<f4", view["byteLength"] // 4, view["byteOffset"])
        return accessor, values.reshape(accessor["count"], -1)

    box, places = column("POSITION")
    assert np.array_equal(places, gaussians.means.numpy()) and box["min"] == places.min(0).tolist()
    assert np.array_equal(column(f"{NAME}:ROTATION")[1], gaussians.quats[:, [1, 2, 3, 0]].numpy())
    assert np.array_equal(column(f"{NAME}:SCALE")[1], gaussians.scales.numpy())
    assert np.array_equal(column(f"{NAME}:OPACITY")[1][:, 0], gaussians.opacities.numpy())
    for number, name in enumerate(["0_COEF_0", "1_COEF_0", "1_COEF_1", "1_COEF_2"]):
        assert np.array_equal(column(f"{NAME}:SH_DEGREE_{name}")[1], gaussians.sh[:, number].numpy())
    assert column("COLOR_0")[1].min() >= 0 and column("COLOR_0")[1].max() <= 1


def test_who_is_turned_looks_the_same_to_who_went_round(gaussians):
    round_z = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    whole = settled(cloud(60, 3))
    there, direction = turned(whole), torch.randn(60, 3)
    torch.testing.assert_close(there.means, whole.means @ round_z)
    torch.testing.assert_close(sh_to_rgb(there.sh, direction @ round_z), sh_to_rgb(whole.sh, direction))
    back = turned(there)
    torch.testing.assert_close(back.quats, whole.quats, atol=1e-6, rtol=0)
    upright = turned(replace(whole, quats=torch.tensor([[1.0, 0, 0, 0]]).expand(60, -1))).quats
    torch.testing.assert_close(upright.abs(), torch.tensor([[0.0, 0, 0, 1]]).expand(60, -1))


def test_what_is_no_gaussian_is_refused_and_what_is_too_thin_is_not(gaussians):
    broken = replace(gaussians, means=gaussians.means.index_fill(0, torch.tensor([3]), torch.nan))
    with pytest.raises(UserError, match="run: found 1 of 300 Gaussians that are no numbers"):
        settled(broken)
    with pytest.raises(UserError, match="run: found no Gaussian"):
        settled(type(gaussians)(**{key: value[:0] for key, value in vars(gaussians).items()}))
    flat = settled(surfels(replace(gaussians, scales=gaussians.scales.index_fill(1, torch.tensor([2]), 0.0))))
    torch.testing.assert_close(flat.scales[:, 2], 1e-3 * flat.scales[:, :2].amax(1))
    assert (flat.quats[:, 0] >= 0).all()
