"""The file of a baked avatar: what is written is read, and nothing else."""

import json
import struct
from dataclasses import replace

import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.exporters.bake_errors import Errors, Most
from talkingavatar.exporters.bake_file import ARRAYS, EXTRAS, arrays_of, as_stored, baked_glb, read_baked
from talkingavatar.exporters.glb import glb
from talkingavatar.exporters.static import settled
from talkingavatar.methods.baking import sparse_weights
from talkingavatar.networks.baked import (
    Baked,
    Grid,
    Latents,
    Listener,
    Moment,
    Residual,
    Resting,
    Skeleton,
    Skin,
    posed,
)  # fmt: skip
from talkingavatar.networks.cpu.poser import Poser
from tests.splatting.scenes import cloud

# Gaussians (no whole groups of eight), joints, expressions, rows of skin, features, nodes, hidden, channels
N, J, E, S, M, F, D, H, A = 21, 4, 3, 5, 7, 2, 6, 8, 5


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


@pytest.fixture
def avatar():
    """Everything that an avatar may have."""
    generator = torch.Generator().manual_seed(0)

    def whole(high, *shape):
        return torch.randint(high, shape, generator=generator, dtype=torch.int32)

    sides = [whole(2, N).bool() for _ in range(2)]
    resting = Resting(random(N, 3), random(N, 4), random(N, 3) - 4, random(N), random(N, 4, 3), *sides)
    skeleton = Skeleton(
        torch.tensor([-1, 0, 1, 1], dtype=torch.int32), random(J, 3), 0.1 * random(J, 3, E), random(3, 4), random(1)
    )
    frames = torch.linalg.qr(random(S, 3, 3))[0]
    skin = Skin(
        whole(M + 1, N, 3) - 1, random(N, 3).softmax(1), resting.means + 4e-3 * random(N, 3), 0.1 * random(S, 9, E),
        frames[..., :2] + 0.1, frames[..., :2].contiguous(), frames[..., 2].contiguous(), 0.1 * random(M, 3, F),
        torch.tensor([[1, 0, 1], [3, 2, 2]], dtype=torch.int32),
    )  # fmt: skip
    rows = torch.randperm(N, generator=generator)[:13].int()
    columns = torch.tensor([13, 3, 4, 5, 6, 0, 7, 10, 2], dtype=torch.int32)
    turns = torch.nn.functional.normalize(random(13, 4), dim=1)
    residual = Residual(0.1 * random(13, 9, 3), rows, columns, 3 * whole(2, 13), random(9).abs(), turns)
    voxels = sparse_weights(random(D, J + 1).softmax(1))
    grid = Grid(
        torch.arange(3, 9, dtype=torch.int32), -0.2 * torch.ones(3), torch.tensor([0.2, 0.3, 0.1]), whole(D, 3, 2, 4),
        voxels.joints, voxels.values,
    )  # fmt: skip
    heard = torch.tensor([20, 0, 4, 7], dtype=torch.int32)
    layers = [0.3 * random(*shape) for shape in ((H, A), (H, H), (H,), (H, H), (H,), (10, H), (10,))]
    layers[-1][7:] += 0.7  # about the most that a sound may make them larger
    listener = Listener(heard, random(4, H), random(4, A), *layers)
    latents = Latents(torch.tensor([-1.0, 0.0, 2.0]), random(2, 3, J, 3), random(2, 3, E), random(2, 3, 6))
    weights = sparse_weights(random(N, J + 1).softmax(1))
    return Baked(resting, skeleton, weights, skin, residual, grid, listener, latents)


@pytest.fixture
def moment():
    quats = torch.nn.functional.normalize(random(1, J, 4), dim=-1)
    return Moment(quats, random(1, 3), random(1, E), random(1, 6 + A))


def test_what_is_written_is_read(avatar, moment, tmp_path):
    file = tmp_path / "a.glb"
    file.write_bytes(baked_glb(avatar, {"family": "thgs"}, settled(cloud(5))))
    read = read_baked(file)
    assert read.manifest["family"] == "thgs" and read.manifest["counts"]["coefficients"] == 6 + A
    assert set(read.manifest["arrays"]) == set(ARRAYS)
    for name, values in arrays_of(avatar).items():
        assert (arrays_of(read.avatar)[name] == values).all(), name
    stored = posed(as_stored(avatar), moment)
    torch.testing.assert_close(stored.means, posed(avatar, moment).means, atol=3e-3, rtol=1e-3)
    for one, other in zip(vars(stored).values(), vars(posed(read.avatar, moment)).values(), strict=True):
        assert torch.equal(one, other)


def test_an_avatar_of_everything_is_the_same_compiled(avatar, moment):
    expected, (found,) = posed(avatar, moment), Poser(avatar)(moment)
    for name in ("means", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-4, rtol=1e-3)
    alike = (torch.nn.functional.normalize(expected.quats, dim=1) * found.quats).sum(1).abs()
    assert alike.min() > 1 - 1e-5


def changed(data, change):
    """The file with another document."""
    (size,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + size])
    change(document["asset"]["extras"][EXTRAS], document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + size :]
    return struct.pack("<IIIII", 0x46546C67, 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda told, _: told.update(version=9), "version 9 of baked avatars; expected version 2 at most"),
        (lambda told, _: told.update(format="another"), "nothing that moves in it"),
        (lambda told, _: told["arrays"].pop("skin.basis"), "skin.basis is not there"),
        (lambda told, _: told["arrays"]["skin.basis"].update(shape=[S, 9, E + 1]), "skin.basis of"),
        (lambda told, _: told["arrays"]["skin.base"].update(view=900), "index out of range"),
        (lambda told, _: told["arrays"]["skin.base"].update(dtype="float64"), "skin.base of float64"),
        (lambda told, _: told.update(parents=[-1, 2, 1, 1]), "parents of what is not there"),
        (lambda _, all_: all_.pop("bufferViews"), "bufferViews is not there"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(avatar, tmp_path, change, told):
    file = tmp_path / "a.glb"
    file.write_bytes(changed(baked_glb(avatar, {}, settled(cloud(5))), change))
    with pytest.raises(UserError, match=told) as error:
        read_baked(file)
    assert "\n" not in str(error.value)


def test_no_numbers_numbers_of_nothing_and_other_files_are_refused(avatar, tmp_path):
    file = tmp_path / "a.glb"
    torn = replace(avatar, gaussians=replace(avatar.gaussians, opacities=avatar.gaussians.opacities * torch.nan))
    lost = replace(avatar, skin=replace(avatar.skin, corners=avatar.skin.corners + 1))
    whole, still = baked_glb(avatar, {}, settled(cloud(5))), glb(settled(cloud(5)), {})
    for content, told in (
        (baked_glb(torn, {}, settled(cloud(5))), "gaussians.opacities with what is no number"),
        (baked_glb(lost, {}, settled(cloud(5))), "skin.corners of what is not there"),
        (still, "nothing that moves in it"),
        (whole[:-400], "bytes of"),
        (b"PNG and more of it.....", "not glTF 2.0"),
        (b"x", "unpack"),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match=told):
            read_baked(file)
    with pytest.raises(UserError, match="No such file"):
        read_baked(tmp_path / "b.glb")


def test_more_than_may_be_between_them_is_refused():
    parts = {"mouth": {"worst": 2.0, "mean": 0.4}, "body": {"worst": 0.1, "mean": 0.01}}
    errors = Errors(7, parts, {"worst": 50.0, "mean": 60.0})
    errors.check(Most())
    for most in (Most(0.3, 45), Most(0.5, 51)):
        with pytest.raises(UserError, match=r"50\.0 dB in the worst of 7 held-out frames; .*mouth 0\.400 \(2\.00\)"):
            errors.check(most)
