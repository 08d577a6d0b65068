"""The open rig's files: what they say about the body, and that they are always the same."""

import filecmp
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from talkingavatar.body import open_rig
from talkingavatar.body.full_mesh import load_full_mesh
from talkingavatar.body.landmarks import MIRRORED
from talkingavatar.body.makehuman import ORIGINS, _numbers, read_base_mesh, read_phenotype_targets, read_rig
from talkingavatar.body.tpose import JOINT_NAMES, joint_weights, solve_tpose


@pytest.mark.parametrize("odd", [b"", b"\n5 1e-3 +2 .123456789012345678", b" 7 8 - 9"])
def test_targets_are_read_as_python_reads_numbers(odd):
    values = np.round(np.random.default_rng(0).normal(0, 10, 4000), 4)
    text = "\n".join(f"{value:.4f}".replace("0.", ".") for value in values).encode() + b"\n0 -0 12. -.5"
    expected = [float(word) for word in text.split()]
    assert _numbers(text).tolist() == expected
    if odd != b" 7 8 - 9":
        assert _numbers(text + odd).tolist() == expected + [float(word) for word in odd.split()]
    else:
        with pytest.raises(ValueError, match="-"):
            _numbers(text + odd)


def test_a_failed_build_leaves_nothing(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(open_rig.makehuman, "data_folder", lambda: tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        open_rig.build_open_rig(tmp_path / "rig")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_build_one_rig_of_the_same_bytes(cache, tmp_path):
    code = "from talkingavatar.body.open_rig import ensure_open_rig; print(ensure_open_rig())"
    environment = os.environ | {"TALKINGAVATAR_CACHE": str(tmp_path)}
    start = [sys.executable, "-c", code]
    runs = [subprocess.Popen(start, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {run.communicate(timeout=300)[0].strip() for run in runs}
    assert [run.returncode for run in runs] == [0, 0] and len(answers) == 1
    second = Path(answers.pop())
    assert [p for p in second.parent.iterdir() if p.is_dir()] == [second]  # nothing half-made is left
    first = open_rig.ensure_open_rig()
    hashes = [{p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in f.iterdir()} for f in (first, second)]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 5


@pytest.mark.parametrize("name", ["SMPLX_NEUTRAL.npz", "open_rig.npz", "FLAME_NEUTRAL.pkl", "contents.json"])
def test_a_damaged_rig_is_written_again(cache, tmp_path, monkeypatch, capsys, name):
    whole = open_rig.ensure_open_rig()
    monkeypatch.setenv("TALKINGAVATAR_CACHE", str(tmp_path))
    broken = tmp_path / "body" / whole.name
    shutil.copytree(whole, broken)
    (broken / name).write_bytes((whole / name).read_bytes()[:-7])
    files = [file for file in whole.iterdir() if file.name != "contents.json"]
    monkeypatch.setattr(open_rig, "_write_files", lambda folder: [shutil.copy(file, folder) for file in files])
    assert open_rig.ensure_open_rig() == broken and filecmp.cmp(broken / name, whole / name, shallow=False)
    assert "made anew" in capsys.readouterr().err and open_rig.ensure_open_rig() == broken
    assert capsys.readouterr().err == ""


def test_layout(body):
    assert body.v_template.shape == (13_718 + 2 * 68, 3)
    assert body.joint_names == JOINT_NAMES and len(body.parents) == 55
    assert len(body.expression_names) == 52 and body.expressiondirs.shape[2] == 52
    assert body.posedirs is None
    assert len(body.faces_uv) == len(body.faces) and body.faces_uv.max() < len(body.uv)
    upper, lower = body.regions["teeth_upper"], body.regions["teeth_lower"]
    assert torch.equal(torch.cat([upper, lower]), torch.arange(13_718, 13_854))


def test_weights_are_shares(body, head):
    for model in (body, head):
        assert model.weights.min() >= 0
        assert torch.allclose(model.weights.sum(1), torch.ones(len(model.weights)), atol=1e-6)
        assert (model.weights.amax(0) > 0.3).all()  # no joint moves nothing


def test_tpose_faces_z_with_arms_along_x(body):
    joints = dict(zip(body.joint_names, body.rest_joints(torch.zeros(1, 10))[0], strict=True))
    for side, sign in (("left", 1), ("right", -1)):
        arm = torch.stack([joints[f"{side}_{j}"] for j in ("shoulder", "elbow", "wrist", "middle1")])
        assert (arm[:, 1:] - arm[0, 1:]).abs().max() < 0.01 and (sign * arm[:, 0]).diff().min() > 0.05
        assert joints[f"{side}_index1"][2] > joints[f"{side}_pinky1"][2]  # palms down: index finger in front
    assert joints["head"][1] > joints["pelvis"][1] > joints["left_ankle"][1]
    assert body.landmarks(body.v_template[None])[0, 30, 2] > joints["head"][2] + 0.05  # the nose is in front
    height = body.v_template[:, 1].max() - body.v_template[:, 1].min()
    assert 1.5 < height < 2


def test_joints_follow_the_anatomy_of_other_adults(body):
    """People the rig was not fitted to: their own joints against those of their fitted shape."""
    mesh = read_base_mesh()
    targets, rig = read_phenotype_targets(len(mesh.vertices)), read_rig(mesh)
    weights = joint_weights(rig, len(mesh.vertices))
    ids = load_full_mesh().body_to_full
    directions = body.shapedirs.double().reshape(-1, 10).numpy()
    random = np.random.default_rng(5)
    errors = []
    for _ in range(6):
        person = {
            "gender": random.uniform(),
            "age": random.uniform(0.67, 0.9),
            "height": random.normal(0.5, 0.08),
        }
        person |= {axis: random.normal(0.5, 0.15) for axis in ("muscle", "weight", "proportions")}
        person |= dict(zip(ORIGINS, random.dirichlet([1, 1, 1]), strict=True))
        shape = mesh.vertices + targets.shape(person)
        pose = solve_tpose({bone: shape[v].mean(0) for bone, v in rig.head_vertices.items()})
        offset = pose.points(shape, weights)[ids] - body.v_template.double().numpy()
        betas = torch.from_numpy(np.linalg.lstsq(directions, offset.ravel())[0]).float()
        errors.append((body.rest_joints(betas[None])[0].numpy() - pose.joints) ** 2)
    distances = np.sqrt(np.sum(errors, axis=2))
    assert distances.max() < 0.008 and distances.mean() < 0.0015


def test_expression_leaves_the_joints(body):
    still = body.rest_joints(torch.zeros(1, 10))
    moved = body.rest_joints(torch.zeros(1, 10), torch.ones(1, 52))
    assert (moved - still).abs().max() < 1e-3


def test_landmarks_lie_on_the_face_and_mirror(body):
    points = body.landmarks(body.v_template[None])[0]
    assert torch.allclose(points, points[MIRRORED] * torch.tensor([-1.0, 1, 1]), atol=1e-4)
    assert torch.allclose(body.landmark_bary.sum(1), torch.ones(68)) and body.landmark_bary.min() >= 0
    assert torch.isin(body.faces[body.landmark_faces], body.regions["head"]).all()
    assert (points[:17, 0].diff() > -1e-3).all()  # from the person's right ear to the left one
    assert (points[27:31, 2].diff() > 0).all()  # down the nose to its tip
    assert points[30, 2] == points[:, 2].max()
    assert points[37:39, 1].min() > points[40:42, 1].max()  # upper lid above lower lid
    heights = points[[19, 37, 41, 33, 51, 62, 66, 57, 8], 1]
    assert (heights.diff() < 0).all()


def test_lip_rings_run_from_corner_to_corner(body):
    for lip in ("outer", "inner"):
        for row in ("upper", "lower"):
            ring = body.v_template[body.regions[f"lip_{lip}_{row}"]]
            assert (ring[:, 0].diff() > -1e-3).all() and ring[-1, 0] > 0.02
            assert torch.allclose(ring[:, 0], -ring.flip(0)[:, 0], atol=1e-4)
    upper, lower = (body.regions[f"lip_outer_{row}"] for row in ("upper", "lower"))
    assert upper[0] == lower[0] and upper[-1] == lower[-1]


def test_regions_are_where_they_should_be(body):
    regions, v = body.regions, body.v_template
    assert all(len(ids) for ids in regions.values())
    assert v[regions["left_hand"], 0].min() > 0.6 and v[regions["right_hand"], 0].max() < -0.6
    assert v[regions["left_eye"], 0].min() > 0 > v[regions["right_eye"], 0].max()
    teeth = torch.cat([regions["teeth_upper"], regions["teeth_lower"]])
    assert not torch.isin(regions["head"], teeth).any()
    tongue, cavity = v[regions["tongue"]], v[regions["mouth_cavity"]]
    assert (tongue.amin(0) > cavity.amin(0)).all() and (tongue.amax(0) < cavity.amax(0)).all()


def test_picked_vertices_are_the_named_ones(body):
    nose, right_eye, left_eye, _, left_ear, *rest = body.v_template[body.vertex_joints]
    assert nose[2] > right_eye[2] and right_eye[0] < 0 < left_eye[0] < left_ear[0]
    tips = dict(zip(("thumb", "index", "middle", "ring", "pinky"), rest[6:11], strict=True))
    joints = dict(zip(body.joint_names, body.rest_joints(torch.zeros(1, 10))[0], strict=True))
    for finger, tip in tips.items():
        distances = {f: (tip - joints[f"left_{f}3"]).norm().item() for f in tips}
        assert min(distances, key=distances.__getitem__) == finger and distances[finger] < 0.04


def test_full_mesh_is_the_body_and_more(body):
    full = load_full_mesh()
    assert full.vertices.shape == (19_158, 3)
    ids = full.body_to_full
    assert np.array_equal(full.vertices[ids], body.v_template.numpy())
    assert np.array_equal(full.weights[ids], body.weights.numpy())
    assert np.array_equal(full.shapedirs[ids], body.shapedirs.numpy())
    assert np.array_equal(full.expressiondirs[ids], body.expressiondirs.numpy())
    assert np.allclose(full.weights.sum(1), 1, atol=1e-6)
    tights, body_faces = full.group_faces("helper-tights"), full.group_faces("body")
    assert len(tights) == 2 * 2650 and full.faces_uv.max() < len(full.uv)
    below_neck = full.vertices[np.unique(tights)]
    assert below_neck[:, 1].max() < full.vertices[np.unique(body_faces)][:, 1].max()
