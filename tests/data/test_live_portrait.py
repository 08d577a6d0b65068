"""LivePortrait as a source of motion, with small random weights."""

import os
import pickle

import numpy as np
import pytest
import torch

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.body.models import load_body
from talkingavatar.data.portrait.face_crop import FaceCrop, face_crop
from talkingavatar.data.portrait.live_portrait import LIPS
from talkingavatar.data.portrait.template import read_template
from talkingavatar.errors import UserError
from talkingavatar.networks.live_portrait import rotation
from talkingavatar.networks.mesh_code import MotionLatent
from tests.live_portrait_weights import tiny_portrait, tiny_source

SIZE = 80


@pytest.fixture(scope="module")
def mesh(cache):
    return FaceMesh(load_body("open"))


@pytest.fixture(scope="module")
def source(mesh, tmp_path_factory):
    return tiny_source(mesh, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def portrait(mesh):
    return tiny_portrait(mesh)


def test_a_crop_put_back_changes_nothing():
    ramp = torch.stack(torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij"))
    crop = FaceCrop(np.array([43.0, 28.5]), 30.0, np.array([np.cos(0.3), np.sin(0.3)]))
    cut = crop.cut(ramp, 30)
    right = cut[:, 15, 16] - cut[:, 15, 15]  # a pixel to the square's right, in y and x
    assert torch.allclose(right, torch.tensor([np.sin(0.3), np.cos(0.3)], dtype=torch.float32), atol=1e-4)
    assert torch.allclose(cut.mean((1, 2)), torch.tensor([28.0, 42.5]), atol=1e-3)  # centres lie at +0.5
    back = crop.put_back(cut, torch.full_like(ramp, -1))
    inner = FaceCrop(crop.middle, 24.0, crop.across)  # where nothing fades any more
    _, _, places, _ = inner._cover(60, 80)
    rows, columns, _, _ = inner._cover(60, 80)
    within = torch.from_numpy((np.abs(places) < 1).all(-1))
    assert torch.allclose(back[:, rows, columns][:, within], ramp[:, rows, columns][:, within], atol=0.05)
    assert (back[:, 0] == -1).all()


def test_a_fine_picture_is_averaged_not_skipped():
    fine = torch.zeros(1, 64, 64)
    fine[:, ::2] = 1.0
    cut = FaceCrop(np.array([32.0, 32.0]), 64.0, np.array([1.0, 0.0])).cut(fine, 16)
    assert torch.allclose(cut, torch.full_like(cut, 0.5), atol=1e-5)


def test_the_square_lies_about_the_face_as_published():
    marks = np.zeros((1, 68, 2))
    marks[0, :36] = (50, 60)
    marks[0, 36:48], marks[0, 48:] = (50, 40), (50, 80)
    marks[0, 0], marks[0, 16] = (20, 60), (80, 60)
    crop = face_crop(marks)
    assert crop.side == pytest.approx(2.3 * 60)
    assert crop.middle == pytest.approx([50, 60 - 0.125 * crop.side])
    turned = face_crop(marks[..., ::-1] * (-1, 1))  # a quarter turn to the right
    assert turned.across == pytest.approx([0, 1])
    assert turned.middle == pytest.approx([-60 + 0.125 * crop.side, 50])


def test_its_own_motion_moves_no_keypoint(source, portrait):
    own = source.read([portrait])
    assert own.dyn.shape == (1, source.dyn_dim) and own.pose.shape == (1, source.pose_dim)
    prepared = source._prepare(portrait)
    grid = source.warping(prepared.volume, prepared.points, prepared.points).origins
    (shown,) = source.animate(portrait, own)
    made = source.generator(source.warping(prepared.volume, prepared.points, prepared.points).features)[0]
    assert grid.abs().max() <= 1 + 1e-5
    expected = prepared.crop.put_back(made, prepared.picture)
    assert np.abs(shown.frame / 255 - expected.permute(1, 2, 0).numpy()).max() < 0.5 / 255 + 1e-4
    assert shown.valid and shown.frame.dtype == np.uint8


def test_beyond_the_square_the_picture_is_as_it_was(source, portrait):
    own = source.read([portrait])
    shown = list(source.animate(portrait, MotionLatent(own.dyn.repeat(2, 1) + 0.3, own.pose.repeat(2, 1))))
    crop = source._prepare(portrait).crop
    rows, columns, places, _ = crop._cover(SIZE, SIZE)
    outside = np.ones((SIZE, SIZE), bool)
    outside[rows, columns] = (np.abs(places) > 1).any(-1)
    assert outside.sum() > 100
    for one in shown:
        assert (one.frame[outside] == portrait.picture[outside]).all()
        assert (one.matte[outside] == portrait.matte[outside]).all()
        assert (one.confidence[outside] == 1).all() and one.confidence.min() >= 0.19
    assert (shown[0].frame == shown[1].frame).all()  # nothing is drawn at random
    assert (shown[0].frame[~outside] != portrait.picture[~outside]).any()


def test_what_is_turned_too_far_is_not_to_be_learned_from(source, portrait):
    own = source.read([portrait])
    pose = own.pose.repeat(2, 1)
    pose[1, 2] += 0.9
    first, second = source.animate(portrait, MotionLatent(own.dyn.repeat(2, 1), pose))
    assert first.valid and not second.valid
    assert second.why.startswith("yaw 5")


def test_another_motion_begins_from_the_portraits_own(source, portrait):
    torch.manual_seed(0)
    other = MotionLatent(torch.randn(3, source.dyn_dim), 0.2 * torch.randn(3, 7))
    own, moved = source.read([portrait]), source.adapted(portrait, other)
    assert torch.allclose(moved.dyn[0], own.dyn[0]) and torch.allclose(moved.pose[0], own.pose[0], atol=1e-5)
    assert torch.allclose(moved.dyn[2] - moved.dyn[1], other.dyn[2] - other.dyn[1], atol=1e-5)
    turn, before = rotation(moved.pose[:, 1:4]), rotation(other.pose[:, 1:4])
    assert torch.allclose(turn[2], before[2] @ before[0].T @ rotation(own.pose[:, 1:4])[0], atol=1e-5)
    spoken = source.adapted(portrait, other, lips=True).dyn.unflatten(1, (-1, 3))
    assert torch.equal(spoken[:, LIPS], other.dyn.unflatten(1, (-1, 3))[:, LIPS])
    assert torch.allclose(spoken[:, 0], moved.dyn.unflatten(1, (-1, 3))[:, 0])


def template(frames, **other):
    turn = rotation(torch.tensor([[0.1, -0.2, 0.3]])).numpy()
    frame = {"scale": np.full((1, 1), 1.2, np.float32), "R": turn, "exp": np.full((1, 21, 3), 0.01, np.float32),
             "t": np.array([[0.1, 0.2, 0.0]], np.float32), "kp": np.zeros((1, 21, 3), np.float32)}  # fmt: skip
    return {"n_frames": frames, "output_fps": 25, "motion": [frame] * frames, "c_eyes_lst": [], "c_lip_lst": []} | other


def test_a_template_is_read(source, tmp_path):
    file = tmp_path / "d5.pkl"
    file.write_bytes(pickle.dumps(template(4)))
    found = source.bank(str(file))
    assert found.dyn.shape == (4, 63) and (found.dyn == 0.01).all()
    expected = torch.tensor([np.log(1.2), 0.1, -0.2, 0.3, 0.1, 0.2, 0.0], dtype=torch.float32)
    assert torch.allclose(found.pose, expected.expand(4, 7), atol=1e-6)


class Malicious:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (os.mkdir, (str(self.file),))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (template(3, output_fps=30), "at 30 frames a second; expected 25"),
        (template(0), "expected a motion template"),
        ({"motion": [{"scale": 1.0}]}, "with R nothing; expected .3, 3. finite numbers"),
        (template(1, motion=[{**template(1)["motion"][0], "exp": np.full((1, 21, 3), np.nan)}]), "exp float64"),
    ],
)
def test_a_template_that_is_none_is_one_line(tmp_path, content, line):
    file = tmp_path / "x.pkl"
    file.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=line) as error:
        read_template(file, 21)
    assert "\n" not in str(error.value)


def test_a_template_never_runs(tmp_path):
    file, ran = tmp_path / "x.pkl", tmp_path / "ran"
    file.write_bytes(pickle.dumps({"motion": [Malicious(ran)]}))
    with pytest.raises(UserError, match=r"it names posix.mkdir"):
        read_template(file, 21)
    assert not ran.exists()


def test_without_a_driver_nothing_is_told_from_sound(source):
    with pytest.raises(UserError, match="no driver from sound"):
        source.from_audio(np.zeros(16000, np.float32), 25, 0)


def test_who_speaks_is_told_to_drivers_that_go_on_from_the_portrait(source, portrait):
    person = source._person(portrait)
    assert {name: values.shape[1] for name, values in person.told.items()} == {
        "kp": 63, "scale": 1, "pitch": 66, "yaw": 66, "roll": 66, "t": 3, "exp": 63,
    }  # fmt: skip
    assert torch.equal(person.told["exp"], source.read([portrait]).dyn)
    middle = person.marks.mean(0)
    assert (middle - SIZE / 2).abs().max() < 8
