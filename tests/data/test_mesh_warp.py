"""A portrait moved by its mesh code."""

import dataclasses
from dataclasses import asdict

import numpy as np
import pytest
import torch

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.body.models import load_body
from talkingavatar.data.capture import Capture
from talkingavatar.data.mesh_motion import MeshMotionData, bank_of, motions_of, random_takes, rig_from_code
from talkingavatar.data.portrait import Portrait
from talkingavatar.data.portrait.inside import CAVITY, TEETH
from talkingavatar.data.portrait.kernels import sample, trace
from talkingavatar.data.portrait.mesh_warp import MeshWarp
from talkingavatar.data.portrait.record import Still, performed, write_portrait
from talkingavatar.data.portrait.script import Script, Stretch
from talkingavatar.errors import UserError
from talkingavatar.geometry.similarity import head_rotation
from talkingavatar.networks.mesh_code import MeshCode, MotionLatent, save_mesh_code

SIZE = 96


@pytest.fixture(scope="module")
def mesh(cache):
    return FaceMesh(load_body("open"))


@pytest.fixture(scope="module")
def file(mesh, tmp_path_factory):
    motions = motions_of(random_takes(1, 3.0, 0), mesh.body.expression_names)
    code = MeshCode(len(mesh)).requires_grad_(False)
    code.start(MeshMotionData(mesh, motions, 2, 0, 1).drawn(-1, 60).offsets, torch.ones(len(mesh)))
    found = tmp_path_factory.mktemp("code") / "mesh_code.npz"
    told = {"body": mesh.body.checksum, "takes": [asdict(take) for take in motions.takes]}
    save_mesh_code(code, found, told, bank_of(mesh, code, motions), rig_from_code(mesh, code, motions))
    return found


@pytest.fixture(scope="module")
def source(mesh, file):
    return MeshWarp(mesh, file)


@pytest.fixture(scope="module")
def betas():
    return torch.randn(10, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def portrait(mesh, betas):
    """A face with an expression and turned a little, before a picture that varies everywhere."""
    pose = mesh.body.zero_pose()
    expression = pose.expression.clone()
    expression[:, mesh.body.expression_names.index("jawOpen")] = 0.4
    head = mesh.moved(betas[None], expression, pose.full_pose)[0]
    turned = head @ head_rotation(torch.tensor([[0.05, 0.1, -0.03]]))[0].T + torch.tensor([0.0, -0.02, -0.9])
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    picture = np.stack([120 + 60 * np.sin(x / 7), 120 + 60 * np.cos(y / 9), 90 + x], -1).astype(np.uint8)
    K = np.array([[260.0, 0, SIZE / 2], [0, 260.0, SIZE / 2], [0, 0, 1]])
    return Portrait(picture, np.full((SIZE, SIZE), 255, np.uint8), K, mesh.neutral(betas[None])[0], turned)


def one(source, portrait, dyn, pose):
    return next(source.animate(portrait, MotionLatent(dyn[None], pose[None])))


def test_its_own_code_gives_the_portrait(source, portrait):
    shown = one(source, portrait, *(part[0] for part in source.read([portrait])))
    assert shown.valid, shown.why
    error = shown.frame.astype(float) - portrait.picture
    lips = portrait.project(portrait.mesh)[(source.kinds >= TEETH) & (source.kinds <= CAVITY), :2][:, 1]
    assert np.square(error).mean() < 60
    mouth = slice(int(lips.min()) - 3, int(lips.max()) + 4)
    error[mouth] = 0  # where this picture shows neither lips nor teeth
    assert np.square(error).mean() < 10  # 38 dB
    assert np.abs(error[:10]).max() <= 1 and (shown.matte == 255).all()
    assert shown.confidence[0, 0] > 0.99  # nothing moved there


def test_pictures_move_with_the_code_and_the_pose(source, portrait):
    own = source.read([portrait])
    turn = own.pose[0] + torch.tensor([0, 0, 0.15, 0, 0, 0, 0])
    turned = one(source, portrait, own.dyn[0], turn)
    again = one(source, portrait, own.dyn[0], turn)
    assert turned.valid and np.array_equal(turned.frame, again.frame)
    assert np.abs(turned.frame.astype(float) - portrait.picture)[40:60, 40:60].mean() > 3
    shut = one(source, portrait, torch.zeros(32), own.pose[0])
    changed = np.abs(shut.frame.astype(float) - portrait.picture).mean(-1)
    lips = portrait.project(portrait.mesh)[source.mesh.part("lip_inner_lower").numpy(), :2].mean(0).astype(int)
    assert changed[lips[1] - 3 : lips[1] + 3, lips[0] - 3 : lips[0] + 3].max() > 5 and changed[:10].max() <= 1


def test_reading_tells_the_pose(source, portrait):
    own = source.read([portrait])
    torch.testing.assert_close(own.pose[0, 1:4], torch.tensor([0.05, 0.1, -0.03]), atol=5e-3, rtol=0)
    aside = dataclasses.replace(portrait, mesh=portrait.mesh + torch.tensor([0.03, 0, 0]))
    both = source.read([portrait, aside])
    torch.testing.assert_close(both.dyn[1], both.dyn[0], atol=1e-3, rtol=0)
    unit = source.mesh.size(portrait.neutral[None])[0]
    torch.testing.assert_close(both.pose[1, 4:], torch.tensor([0.03, 0, 0]) / unit, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("turn", "why"), [((0, 0.5, 0), "yaw"), ((0.3, 0, 0), "pitch"), ((0, 0, -0.4), "roll"), ((0, 0.4, 0), "")]
)
def test_frames_that_are_turned_too_far_are_marked(source, portrait, turn, why):
    own = source.read([portrait])
    pose = own.pose[0].clone()
    pose[1:4] = torch.tensor([0.05, 0.1, -0.03])
    prepared = source._prepare(portrait)
    rotation = head_rotation(torch.tensor([turn]))[0] @ prepared.rotation
    assert source._why_not(prepared, portrait.neutral, rotation).startswith(why)
    assert bool(source._why_not(prepared, portrait.neutral, rotation)) == bool(why)


def test_folded_triangles_are_found(source, portrait):
    own = source.read([portrait])
    assert source.folded(portrait, portrait.neutral) == 0
    assert source.folded(portrait, portrait.neutral * torch.tensor([-1.0, 1, 1])) == 1
    shown = one(source, portrait, -12 * own.dyn[0], own.pose[0])
    assert not shown.valid and "folded" in shown.why


def test_a_code_of_another_body_is_refused(mesh, source, tmp_path):
    save_mesh_code(
        source.code, tmp_path / "other.npz", {"body": "another", "takes": []}, source.bank("talk"), source.to_rig
    )
    with pytest.raises(UserError, match="another body"):
        MeshWarp(mesh, tmp_path / "other.npz")


def test_the_nearest_of_two_triangles_is_seen_and_its_values_run_straight():
    screen = np.array([[0, 0, 1], [0, 8, 1], [8, 0, 1], [0, 0, 2], [0, 4, 2], [4, 0, 2]], np.float32)
    faces = np.array([[0, 1, 2], [3, 4, 5], [0, 2, 1]], np.int32)  # the last is seen from behind
    ids, nearness, found = trace(screen, faces, screen[:, :2], 8, 8)
    assert ids[0, 0] == 1 and ids[0, 5] == 0 and ids[7, 7] == -1 and nearness[0, 0] == 2
    np.testing.assert_allclose(found[2, 4], [4.5, 2.5], atol=1e-5)


def test_a_lookup_at_the_pixels_own_places_is_the_picture():
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    x, y = np.meshgrid(np.arange(7) + 0.5, np.arange(5) + 0.5)
    np.testing.assert_array_equal(sample(picture, np.stack([x, y], -1).astype(np.float32)), picture)


def test_hair_goes_with_the_head_and_shoulders_stand_still(source, portrait):
    prepared = source._prepare(portrait)
    sheet, rim, turn = prepared.sheet, prepared.sheet.rim, np.radians(8)
    skull = portrait.project(prepared.place + sheet.skull @ prepared.rotation.T)[:, :2]
    np.testing.assert_allclose(skull, sheet.rings, atol=1e-2)  # at rest all lies where the picture has it
    where, far = sheet.places(rim, skull)
    assert far.max() < 1e-2 and where[4, 6] == pytest.approx((6.5, 4.5), abs=1e-2)
    # Tilted about the chin, hair over the brow goes as far as a rigid head's; below, little moves.
    about = np.array([rim[:, 0].mean(), rim[:, 1].max()])
    tilt = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    where, far = sheet.places(*((points - about) @ tilt.T + about for points in (rim, skull)))
    column, row = about[0].astype(int), (rim[:, 1].min() - 0.05 * np.ptp(rim[:, 1])).astype(int)
    here = np.array([column, row]) + 0.5
    np.testing.assert_allclose(where[row, column], (here - about) @ tilt + about, atol=1.5)
    assert far[row, column] > 4 and far[-1].max() < 1.5


def test_a_portrait_that_moves_is_a_capture(source, portrait, betas, tmp_path):
    """Its body shows the same face as its pictures, frame by frame; what is not valid is left out."""
    mesh, body = source.mesh, source.mesh.body
    pose = body.zero_pose()
    pose.full_pose[:, mesh.head] = torch.tensor([0.05, 0.1, -0.03])
    pose.betas[:] = betas
    viewmat = torch.eye(4)
    viewmat[:3, :3] = torch.diag(torch.tensor([1.0, -1, -1]))
    viewmat[:3, 3] = torch.tensor([0, 0.9, 0.9])
    upright = torch.tensor([1.0, -1, -1])
    seen = (mesh.posed(pose)[0] @ viewmat[:3, :3].T + viewmat[:3, 3]) * upright
    still = Still(dataclasses.replace(portrait, mesh=seen), pose, viewmat)
    bank, (take,) = source.bank("talk"), source.takes
    dyn, turned = bank.dyn[10:16], bank.pose[10:16].clone()
    turned[2, 2] += 0.9
    script = Script(MotionLatent(dyn, turned), [Stretch(take, 10, 6)])
    motion = performed(source, still, script.motion)
    manifest = write_portrait(tmp_path, "she", source, still, script, 0.3, lambda: None, {})
    capture = Capture(tmp_path)
    assert manifest.unusable == [2] and 2 not in capture.train_frames and capture.manifest.name == "she"
    np.testing.assert_allclose(capture.table("motion").values, torch.cat(tuple(motion), 1), atol=1e-6)

    prepared = source._prepare(still.portrait)
    found = mesh.posed(capture.pose([4]))[0] @ viewmat[:3, :3].T + viewmat[:3, 3]
    head = still.portrait.neutral + prepared.size * source.code.decode(motion.dyn[4][None])[0]
    turned = motion.pose[4, 0].exp() * head @ head_rotation(motion.pose[4, 1:4][None])[0].T
    apart = found * upright - (prepared.place + prepared.size * motion.pose[4, 4:] + turned)
    assert apart.norm(dim=-1).mean() < 6e-4  # metres
