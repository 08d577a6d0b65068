"""The mesh code: motions come back from 32 numbers, whoever's face and wherever the head."""

import pytest
import torch

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.body.models import load_body
from talkingavatar.data.mesh_motion import (
    MeshMotionData,
    Take,
    bank_of,
    motions_of,
    named_motion,
    offsets_of,
    random_takes,
    rig_from_code,
    unposed,
)
from talkingavatar.data.portrait.mesh_warp import SHIPPED
from talkingavatar.errors import UserError
from talkingavatar.geometry.similarity import head_angles, head_rotation, similarity
from talkingavatar.networks.mesh_code import MeshCode, load_mesh_code, save_mesh_code


@pytest.fixture(scope="module")
def mesh(cache):
    return FaceMesh(load_body("open"))


@pytest.fixture(scope="module")
def faces(mesh):
    motions = motions_of(random_takes(3, 3.0, 0), mesh.body.expression_names)
    return MeshMotionData(mesh, motions, 4, 0, 2)


@pytest.fixture(scope="module")
def code(mesh, faces):
    made = MeshCode(len(mesh)).requires_grad_(False)
    made.start(faces.drawn(-1, 150).offsets, torch.ones(len(mesh)))
    return made


def test_a_named_speakers_motion_comes_back(mesh, faces, code, tmp_path):
    """Of a face that the code has not seen, after the file's half precision."""
    file = tmp_path / "mesh_code.npz"
    bank = bank_of(mesh, code, faces.motions)
    save_mesh_code(code, file, {"body": mesh.body.checksum}, bank, rig_from_code(mesh, code, faces.motions))
    kept, told, found, to_rig = load_mesh_code(file)
    offsets = named_motion(mesh, 0, 1.0)
    error = kept.decode(kept.encode(offsets)) - offsets
    assert offsets.norm(dim=-1).max() > 0.05  # of the distance between the eyes
    assert error.square().sum() < 0.02 * offsets.square().sum()
    assert told == {"body": mesh.body.checksum}
    assert len(found.dyn) == 225 and found.pose.unflatten(0, (3, 75)).mean(1).abs().max() < 1e-3
    # The rig so moved shows what the code says, and the named speaker's face does as well.
    values = kept.encode(offsets) @ to_rig.T
    pose = mesh.body.zero_pose(len(offsets))
    pose.full_pose[:, mesh.joints] = values[:, 52:].unflatten(1, (-1, 3))
    assert (offsets_of(mesh, pose.betas, values[:, :52], pose.full_pose) - offsets).norm(dim=-1).mean() < 0.01


def test_white_numbers_say_the_same(code, faces):
    white = MeshCode(len(code.decoder.weight) // 3).requires_grad_(False)
    white.load_state_dict(code.state_dict())
    offsets = faces.drawn(-2, 60).offsets
    white.whiten(offsets)
    dyn = white.encode(offsets)
    torch.testing.assert_close(dyn.T @ dyn / len(dyn), torch.eye(32), atol=2e-2, rtol=0)
    torch.testing.assert_close(white.decode(dyn), code.decode(code.encode(offsets)), atol=1e-4, rtol=0)


def test_the_code_is_free_of_pose_and_of_the_face(mesh, faces, code):
    draw = torch.Generator().manual_seed(1)
    betas = torch.randn(2, 10, generator=draw)
    expression, pose = faces.motions.expression[[20, 20]], faces.motions.full_pose[[20, 20]]
    neutral, moved = mesh.neutral(betas), mesh.moved(betas, expression, pose)
    still = code.encode(offsets_of(mesh, betas, expression, pose))
    angles = torch.tensor([[0.2, -0.4, 0.1], [-0.1, 0.3, -0.2]])
    placed = 1.3 * moved @ head_rotation(angles).transpose(1, 2) + torch.tensor([0.1, 0.2, -0.9])
    torch.testing.assert_close(code.encode(unposed(mesh, placed, neutral)), still, atol=2e-3, rtol=0)
    assert (still[0] - still[1]).norm() < 0.1 * still[0].norm() and still[0].norm() > 0.5


def test_a_similarity_is_found():
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(1, 9, 3, generator=draw)
    angles = torch.tensor([[0.3, -0.5, 0.2]])
    place = torch.tensor([[1.0, -2.0, 3.0]])
    scale, rotation, found = similarity(points, 1.5 * points @ head_rotation(angles).transpose(1, 2) + place)
    torch.testing.assert_close(scale, torch.tensor([1.5]))
    torch.testing.assert_close(head_angles(rotation), angles)
    torch.testing.assert_close(found, place)


def test_a_step_has_the_same_faces_whenever_it_is_asked(faces):
    first, again, other = faces.drawn(3, 2), faces.drawn(3, 2), faces.drawn(4, 2)
    assert torch.equal(first.offsets, again.offsets) and not torch.equal(first.offsets, other.offsets)


def test_a_file_that_is_no_code_is_one_line(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"nothing")
    for name in ("a.npz", "b.npz"):
        with pytest.raises(UserError, match="a mesh code"):
            load_mesh_code(tmp_path / name)


def test_the_shipped_code_is_of_this_rig_and_small(mesh):
    kept = load_mesh_code(SHIPPED)
    last = Take(**kept.provenance["takes"][-1])
    bank = bank_of(mesh, kept.network, motions_of([last], mesh.body.expression_names))
    torch.testing.assert_close(bank.dyn, kept.bank.dyn[-last.frames :], atol=5e-3, rtol=1e-3)
    offsets = named_motion(mesh, 2, 0.4)
    error = kept.network.decode(kept.network.encode(offsets)) - offsets
    assert error.square().sum() < 0.01 * offsets.square().sum() and SHIPPED.stat().st_size < 1.5e6
    assert kept.provenance["body"] == mesh.body.checksum and not kept.provenance["dirty"]
