"""A .ply gives back the Gaussians it was made of, and says what is wrong with one that cannot."""

import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.splatting.files import read_ply, write_ply
from tests.splatting.scenes import cloud


@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_round_trip(tmp_path, degree, count):
    g = cloud(count, degree)
    write_ply(tmp_path / "g.ply", g)
    back = read_ply(tmp_path / "g.ply")
    for name, value in vars(g).items():
        assert torch.allclose(getattr(back, name), value, rtol=1e-5, atol=1e-6), name


def test_columns_are_the_reference_codes(tmp_path):
    write_ply(tmp_path / "g.ply", cloud(2, 1))
    header = (tmp_path / "g.ply").read_bytes().split(b"end_header\n")[0].decode().splitlines()
    names = [line.split()[-1] for line in header if line.startswith("property")]
    rest = [f"f_rest_{i}" for i in range(9)]
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:] == [
        *rest,
        "opacity",
        "scale_0",
        "scale_1",
        "scale_2",
        "rot_0",
        "rot_1",
        "rot_2",
        "rot_3",
    ]


def test_harmonics_are_stored_channel_by_channel(tmp_path):
    g = cloud(1, 1)
    write_ply(tmp_path / "g.ply", g)
    body = (tmp_path / "g.ply").read_bytes().split(b"end_header\n")[1]
    row = torch.frombuffer(bytearray(body), dtype=torch.float32)
    assert torch.equal(row[9:18], g.sh[0, 1:].T.flatten())


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "g.ply"
    write_ply(path, cloud(5, 1))
    whole = path.read_bytes()
    for broken in (b"", b"not a ply", whole[:-8], whole.replace(b"opacity", b"capacity")):
        path.write_bytes(broken)
        with pytest.raises(UserError):
            read_ply(path)
