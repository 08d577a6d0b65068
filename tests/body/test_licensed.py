"""SMPL-X and FLAME files in the published layout: loaded through smplx, given teeth, or refused."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from talkingavatar.body import assets, licensed
from talkingavatar.body.models import load_body, load_smplx
from talkingavatar.errors import UserError
from tests.body import published
from tests.body.test_body import random_pose, smplx_forward


@pytest.fixture(scope="module")
def smplx_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "smplx").mkdir()
    published.write_npz(folder / "smplx/SMPLX_NEUTRAL.npz", published.smplx_arrays())
    return folder


@pytest.fixture(scope="module")
def flame_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flame")
    published.write_pkl(folder / "generic_model.pkl", published.flame_arrays())
    return folder


@pytest.fixture(scope="module")
def smplx_body(smplx_folder):
    return load_body("smplx", smplx_folder)


@pytest.fixture(scope="module")
def flame_body(flame_folder):
    return load_body("flame", flame_folder)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path):
    """Nothing licensed that this machine may hold is found by chance."""
    monkeypatch.delenv("TALKINGAVATAR_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)


def test_smplx_loads_and_poses_as_smplx_does(smplx_folder, smplx_body):
    model, _, _ = load_smplx("smplx", smplx_folder)
    pose = random_pose(smplx_body, 1)
    assert pose.betas.shape == (1, 10) and pose.expression.shape == (1, 10)
    vertices, joints = smplx_body(pose)
    expected = smplx_forward(model, pose)
    assert torch.allclose(vertices, expected.vertices, atol=1e-5)
    assert torch.allclose(joints, expected.joints[:, :55], atol=1e-5)
    assert smplx_body.posedirs is not None
    assert smplx_body.vertex_joints.tolist()[:3] == [9120, 9929, 9448]
    assert smplx_body.name == "smplx" and smplx_body.version == "SMPLX_NEUTRAL.npz"


def test_flame_loads_from_a_chumpy_pickle(flame_folder, flame_body):
    model, _, _ = load_smplx("flame", flame_folder)
    pose = random_pose(flame_body, 1)
    assert pose.expression.shape == (1, 100)
    vertices, joints = flame_body(pose)
    expected = smplx_forward(model, pose)
    assert torch.allclose(vertices, expected.vertices, atol=1e-4)
    assert torch.allclose(joints, expected.joints[:, :5], atol=1e-4)
    arrays = published.flame_arrays()
    assert np.allclose(flame_body.v_template[:5023], arrays["v_template"], atol=1e-6)
    assert np.allclose(flame_body.J_regressor[:, :5023], arrays["J_regressor"], atol=1e-6)


def test_a_pickled_smplx_file_is_the_same_body(tmp_path, smplx_body):
    path = published.write_pkl(tmp_path / "SMPLX_MALE.pkl", published.smplx_arrays())
    male = load_body("smplx", path, gender="male")
    assert torch.equal(male.v_template, smplx_body.v_template) and male.checksum != smplx_body.checksum


@pytest.mark.parametrize(
    ("fixture", "count", "upper", "lower"), [("smplx_body", 10_475, 15, 22), ("flame_body", 5_023, 1, 2)]
)
def test_teeth(fixture, count, upper, lower, request):
    body = request.getfixturevalue(fixture)
    assert len(body.v_template) == count + 120 and len(body.faces) == {10_475: 20_908, 5_023: 9_976}[count] + 168
    rows = {"upper": (body.regions["teeth_upper"], upper), "lower": (body.regions["teeth_lower"], lower)}
    for ids, joint in rows.values():
        assert len(ids) == 60 and ids.min() >= count
        assert (body.weights[ids, joint] == 1).all() and (body.weights[ids].sum(1) == 1).all()
        assert not body.expressiondirs[ids].any() and body.shapedirs[ids].any()
    pose = body.zero_pose()
    jaw = body.joint_names.index("jaw")
    pose.full_pose[0, jaw, 0] = 0.3
    moved = (body(pose)[0] - body(body.zero_pose())[0])[0].norm(dim=1)
    assert moved[rows["upper"][0]].max() < 1e-6 and moved[rows["lower"][0]].min() > 1e-3
    assert not body.J_regressor[:, count:].any()


def test_teeth_stand_behind_the_lips_and_face_forwards(smplx_body):
    v, regions = smplx_body.v_template, smplx_body.regions
    upper, lower = v[regions["teeth_upper"]], v[regions["teeth_lower"]]
    lips = v[torch.cat([regions["lip_outer_upper"], regions["lip_outer_lower"]])]
    assert upper[:, 2].max() < lips[:, 2].min() and upper[:, 1].mean() > lower[:, 1].mean()
    assert upper[:, 1].min() > lower[:, 1].max()
    a, b, c = v[smplx_body.faces[-168:]].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    front = torch.stack([a, b, c])[..., 2].amin(0) > upper[:, 2].max() - 1e-5
    assert front.sum() == 28 and (normals[front, 2] > 0).all()
    for row, half in (("upper", slice(0, 84)), ("lower", slice(84, 168))):
        assert torch.isin(smplx_body.faces[-168:][half], regions[f"teeth_{row}"]).all()


def test_landmarks_of_smplx_start_with_the_contour(smplx_body):
    points = smplx_body.landmarks(smplx_body.v_template[None])[0]
    assert torch.allclose(points[48:, :2], torch.from_numpy(published.MOUTH).float(), atol=1e-6)
    assert torch.equal(smplx_body.landmark_faces, torch.arange(68))


def test_flame_without_landmarks_says_so(flame_body):
    with pytest.raises(UserError, match="landmark"):
        flame_body.landmarks(flame_body.v_template[None])


def test_flame_landmarks_are_found_beside_the_model(tmp_path):
    published.write_pkl(tmp_path / "FLAME_NEUTRAL.pkl", published.flame_arrays())
    corners = np.tile(np.array([0.0, 1, 0]), (68, 1))
    whole = {"full_lmk_faces_idx": np.arange(68)[None], "full_lmk_bary_coords": corners[None]}
    np.save(tmp_path / "landmark_embedding.npy", whole, allow_pickle=True)
    first = load_body("flame", tmp_path)
    (tmp_path / "landmark_embedding.npy").unlink()
    static = {"lmk_face_idx": np.arange(17, 68), "lmk_b_coords": corners[17:]}
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(static))
    dynamic = {"lmk_face_idx": [np.arange(17)] * 79, "lmk_b_coords": [corners[:17]] * 79}
    np.save(tmp_path / "flame_dynamic_embedding.npy", dynamic, allow_pickle=True)
    second = load_body("flame", tmp_path)
    for body in (first, second):
        points = body.landmarks(body.v_template[None])[0]
        assert torch.equal(points, body.v_template[body.faces[:68, 1]])


def test_head_mask_and_lips_come_from_the_correspondence_where_it_is(tmp_path, smplx_body):
    path = published.write_npz(tmp_path / "SMPLX_NEUTRAL.npz", published.smplx_arrays())
    ids = np.random.default_rng(1).permutation(10_475)[:5_023]
    np.save(tmp_path / "SMPL-X__FLAME_vertex_ids.npy", ids)
    body = load_body("smplx", path)
    assert np.array_equal(body.regions["head"], np.sort(ids))
    upper, lower = body.regions["lip_outer_upper"], body.regions["lip_outer_lower"]
    assert upper[[0, 7, -1]].tolist() == ids[[2830, 3543, 1713]].tolist()
    assert lower[[0, 7, -1]].tolist() == ids[[2712, 3503, 1576]].tolist()
    held = smplx_body.weights[:, [12, 15, 22, 23, 24]].sum(1) > 0.5  # without it: by skinning weights
    expected = held.nonzero()[:, 0]
    assert torch.equal(smplx_body.regions["head"], expected[expected < 10_475])


def test_eyes_and_hands_come_from_the_weights(smplx_body, flame_body):
    for body in (smplx_body, flame_body):
        right = body.joint_names.index("right_eye_smplhf")
        assert (body.weights[body.regions["right_eye"], right] > 0.5).all() and len(body.regions["right_eye"])
    assert len(smplx_body.regions["left_hand"]) and not len(flame_body.regions["left_hand"])
    assert not len(smplx_body.regions["tongue"])


def test_files_are_found_in_the_weights_folder(smplx_folder, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(smplx_folder))
    assert load_body("smplx").version == "SMPLX_NEUTRAL.npz"
    found = {a.name: a for a in assets.known_assets()}
    model = found["SMPL-X neutral"]
    assert model.found == smplx_folder / "smplx/SMPLX_NEUTRAL.npz" and len(model.sha256) == 64
    assert found["SMPL-X male"].found is None and found["SMPL-X male"].sha256 is None
    assert smplx_folder in found["FLAME neutral"].looked_in


def test_assets_need_no_torch():
    code = "import sys, talkingavatar.body.assets as a; a.known_assets(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def refused(name: str, path, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        load_body(name, path)
    assert caught.value.field == "body.path" and "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path):
    refused("smplx", None, "SMPLX_NEUTRAL.npz")
    refused("smplx", tmp_path, "holds none of SMPLX_NEUTRAL.npz")
    refused("flame", tmp_path / "absent.pkl", "does not exist")


def test_a_truncated_file_is_refused(tmp_path, smplx_folder, flame_folder):
    for name, source in (
        ("smplx", smplx_folder / "smplx/SMPLX_NEUTRAL.npz"),
        ("flame", flame_folder / "generic_model.pkl"),
    ):
        data = source.read_bytes()
        for keep in (0, 100, len(data) // 2):
            path = tmp_path / source.name
            path.write_bytes(data[:keep])
            refused(name, path, "unreadable")


def test_a_file_of_another_model_is_refused(smplx_folder, flame_folder, tmp_path):
    refused("smplx", flame_folder / "generic_model.pkl", r"'v_template' of shape \(5023, 3\)")
    refused("flame", smplx_folder / "smplx/SMPLX_NEUTRAL.npz", r"'v_template' of shape \(10475, 3\)")
    picture = tmp_path / "picture.npz"
    np.savez(picture, image=np.zeros((4, 4)))
    refused("smplx", picture, "without the entry 'v_template'")
    text = tmp_path / "model.pkl"
    text.write_text("<html>please log in</html>")
    refused("flame", text, "unreadable")


def test_impossible_values_are_refused(tmp_path):
    arrays = published.flame_arrays()
    arrays["shapedirs"][5, 0, 7] = np.nan
    refused("flame", published.write_pkl(tmp_path / "a.pkl", arrays), "'shapedirs' with NaN")
    arrays = published.flame_arrays()
    arrays["f"][3, 1] = 5_023
    refused("flame", published.write_pkl(tmp_path / "b.pkl", arrays), "vertices that there are not")


class Harmful:
    def __reduce__(self):
        return (os.mkdir, ("harm",))


@pytest.mark.parametrize("name", ["generic_model.pkl", "SMPLX_NEUTRAL.npz"])
def test_code_in_a_file_is_not_run(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"v_template": Harmful()}))
        refused("flame", path, "neither numpy, scipy.sparse nor chumpy")
    else:
        np.savez(path, v_template=np.array(Harmful(), dtype=object))
        refused("smplx", path, "without the entry 'v_template'")
    assert not (tmp_path / "harm").exists()


@pytest.fixture(scope="module")
def smplx_content():
    return published.smplx_arrays() | {"vt": np.zeros((11, 2)), "ft": np.zeros((20_908, 3), np.int64)}


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("f", lambda a: -a.astype(np.int64) - 1, "faces of vertices that there are not"),
        ("v_template", lambda a: 1000 * a, "a body of"),
        ("weights", lambda a: 0 * a, "no shares"),
        ("J_regressor", lambda a: 0 * a, "no mean"),
        ("kintree_table", lambda a: a * 0 + 10**9, "hangs on a later one"),
        ("posedirs", lambda a: a + 1e9, "'posedirs' with 1e"),
        ("weights", lambda a: a.astype(object), "type object"),
        ("lmk_faces_idx", lambda a: a + 10**9, "faces that there are not"),
        ("lmk_bary_coords", lambda a: -a, "outside their faces"),
        ("ft", lambda a: a + 99_999, "'ft' of shape"),
    ],
    ids=["negative f", "millimetres", "weights 0", "regressor 0", "tree", "huge", "objects", "marks", "bary", "ft"],
)
def test_what_no_body_can_have_is_refused(smplx_content, monkeypatch, name, change, found):
    content = smplx_content | {name: change(smplx_content[name])}
    monkeypatch.setattr(licensed, "read_arrays", lambda path: content)
    with pytest.raises(UserError, match=found):
        licensed.read_model("smplx", Path("SMPLX_NEUTRAL.npz"))


def test_what_a_body_has_is_taken(smplx_content, monkeypatch):
    monkeypatch.setattr(licensed, "read_arrays", lambda path: smplx_content)
    assert {"vt", "ft", "f"} <= licensed.read_model("smplx", Path("SMPLX_NEUTRAL.npz")).keys()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"full_lmk_bary_coords": np.ones((1, 68, 3)) / 3}, "KeyError"),
        ({"full_lmk_faces_idx": np.arange(20), "full_lmk_bary_coords": np.ones((20, 3)) / 3}, "20 faces"),
        ({"full_lmk_faces_idx": np.full(68, 10**7), "full_lmk_bary_coords": np.ones((68, 3)) / 3}, "places on no face"),
        ({"full_lmk_faces_idx": np.arange(68), "full_lmk_bary_coords": np.full((68, 3), np.nan)}, "places on no face"),
        ([1, 2], "a list instead of named arrays"),
    ],
)
def test_an_embedding_that_does_not_fit_is_named(flame_folder, tmp_path, content, found):
    file = shutil.copy(flame_folder / "generic_model.pkl", tmp_path)
    holder = np.empty((), object)
    holder[()] = content
    np.save(tmp_path / "landmark_embedding.npy", holder, allow_pickle=True)
    with pytest.raises(UserError, match=found) as told:
        load_body("flame", file)
    assert "landmark_embedding.npy" in str(told.value)
