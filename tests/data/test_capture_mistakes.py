"""What is wrong in a capture is found when it is opened, before a step is taken, and said in one line."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from talkingavatar.data.capture import Capture, CaptureWriter
from talkingavatar.errors import UserError
from tests.data.test_capture import FRAMES, SIZE, VIEWS, edit, folder, small, state

__all__ = ["folder", "small"]  # the fixtures


def words(*values):
    return [*values, "x", None, True, float("nan"), {}, 10**30]


WRONG = {
    "fps": words(0, -25, [25]),
    "width": words(0, 1.5),
    "frames": words(0, -1, 11),
    "train": words(
        [[0, 8, 0]], [[0, 8, -1]], [[8, 0, 1]], [[0, 99, 1]], [[0, 8]], [["0", "8", "1"]], [[0, 10, 1]], [5]
    ),
    "shots": [[[0, 0], [0, 10]], [[0, 4], [3, 10]], "x", [[0, None]]],
    "unusable": [[10], [-1], ["a"], 3],
    "background": [[2, 0, 0], [1, 1], "white", [None, 0, 0], [float("nan"), 1, 1]],
    "views": [[], ["front", "front"], [1], "front"],
    "body": [[], {"smplx": 3}],
    "name": [3, "", None],
    "framse": [10],
}
MISTAKES = [(key, value) for key, values in WRONG.items() for value in values]


def test_each_wrong_word_of_a_manifest_is_one_plain_line(folder):
    """Of another kind, out of range, unknown: the file and the field are named, in plain words."""
    good = json.loads((folder / "capture.json").read_text())
    for key, value in MISTAKES:
        (folder / "capture.json").write_text(json.dumps(good))
        state(folder, **{key: value})
        with pytest.raises(UserError, match=r"capture\.json.*found .*expected ") as caught:
            Capture(folder)
        told = str(caught.value).replace(str(folder), "")
        assert "\n" not in told and len(told) < 600 and not any(word in told for word in ("None", "True", "Error", "'"))
        assert key in told or "NaN" in told or key == "frames", (key, value, told)
    assert "did you mean frames" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "an empty file"),
        ("[1, 2]", r"found \[1, 2\]; expected named values"),
        ('{"format": 1, "format": 2}', "'format' twice"),
        ('{"a": ' * 60 + "1" + "}" * 60, "more than 40 deep"),
        ("[" * 9000, "without end"),
        ('{"fps": NaN}', "NaN, which is no number"),
    ],
)
def test_a_damaged_manifest(folder, content, message):
    (folder / "capture.json").write_text(content)
    with pytest.raises(UserError, match=message):
        Capture(folder)


TABLES = [
    ("smplx.npz", "full_pose", np.zeros((FRAMES, 54, 3)), "10x54x3; expected numbers of shape 10x55x3"),
    ("smplx.npz", "expression", np.zeros((FRAMES, 3)), "5 names; expected 3"),
    ("smplx.npz", "betas", np.array(["a"]), "texts"),
    ("smplx.npz", "transl", np.array([{}], object), "Python objects"),
    ("cameras.npz", "viewmats", np.zeros((3, 1, 3, 3)), "3 views"),
    ("cameras.npz", "viewmats", np.zeros((3, 1, 4, 4)), "world to camera"),
    ("cameras.npz", "Ks", np.full((3, 1, 3, 3), "x"), "texts"),
    ("cameras.npz", "Ks", np.full((3, 1, 3, 3), np.nan), r"NaN at \[0, 0, 0, 0\]"),
    ("cameras.npz", "Ks", np.zeros((3, 1, 3, 3)), "focal lengths"),
    ("regions.npz", "mouth", np.zeros((FRAMES, 5)), "10x5"),
    ("actions.npz", "values", np.full((FRAMES, 2), np.nan), r"NaN at \[0, 0\]"),
    ("actions.npz", "scale", np.array(0.0), "above 0"),
    ("landmarks.npz", "points", np.zeros((FRAMES, 70, 3)), "10x70x3"),
    ("truth/flame.npz", "full_pose", np.zeros((FRAMES, 55, 3)), "10x5x3"),
]


@pytest.mark.parametrize(("file", "key", "values", "message"), TABLES)
def test_a_table_of_another_form(folder, file, key, values, message):
    writer = CaptureWriter(folder, VIEWS)
    writer.landmarks(np.zeros((FRAMES, 68, 3), np.float32))
    flame = {"betas": 10, "expression": (FRAMES, 5), "full_pose": (FRAMES, 5, 3), "transl": (FRAMES, 3)}
    for truth in (False, True):
        writer.parameters("flame", {key: np.zeros(size) for key, size in flame.items()}, list("abcde"), truth)
    assert Capture(folder).landmarks() is not None
    edit(folder / file, **{key: values})
    with pytest.raises(UserError, match=rf"{file}.*{message}"):
        Capture(folder)


def test_parameters_of_another_body_name_the_body_to_give(folder):
    (folder / "smplx.npz").rename(folder / "flame.npz")
    edit(folder / "flame.npz", full_pose=np.zeros((FRAMES, 5, 3), np.float32))
    with pytest.raises(UserError, match=r"body: found .*smplx.* has those of flame.*add body=open_flame"):
        Capture(folder).pose([0])


def huge(file):
    """A few kilobytes that say they unpack to ten gigabytes."""
    content = bytearray(file.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("frames/front/000004", lambda f: f.unlink(), "no such file"),
        ("frames/front/000009", lambda f: f.unlink(), "no such file"),
        ("mattes/front/000008", lambda f: f.unlink(), "no such file"),
        ("mattes/right/000008", lambda f: f.unlink(), "no such file"),
        ("frames/left/000008", huge, "60000 x 60000 pixels; expected 24 x 24"),
        ("mattes/front/000000", lambda f: f.write_bytes(f.read_bytes()[:-30]), "truncated"),
        ("frames/front/000009", lambda f: f.write_bytes(b""), "no readable file"),
        ("frames/front/000009", lambda f: Image.new("RGB", (24, 23)).save(f), "24 x 23 pixels"),
        ("frames/front/000009", lambda f: Image.fromarray(np.zeros((24, 24), np.uint16)).save(f), "16 bits"),
    ],
)
def test_every_picture_that_will_be_used_is_looked_at(folder, name, damage, message):
    damage(folder / f"{name}.png")
    with pytest.raises(UserError, match=rf"{name}\.png: found .*{message}"):
        Capture(folder)


def test_pictures_that_nobody_will_see_may_be_absent(folder):
    (folder / "frames" / "front" / "000003.png").unlink()  # a stride passes over it
    file = folder / "frames" / "front" / "000008.png"
    Image.new("RGB", (SIZE, SIZE), (9, 9, 9)).save(file, "JPEG")  # whatever its name says
    assert Capture(folder).frame(8)[0, 0].tolist() == [9, 9, 9]


@pytest.mark.parametrize("values", [np.zeros((11, 16, 4)), np.full((10, 16, 4), np.nan), np.array(["a"])])
def test_features_that_do_not_fit(folder, values, capsys):
    """Those that can be made anew are, with a line; published ones are the user's."""
    (folder / "features").mkdir()
    np.save(folder / "features" / "logmel.npy", values)
    made = Capture(folder).features("logmel")
    assert made.shape[:2] == (10, 16) and made.isfinite().all() and "logmel.npy" in capsys.readouterr().err
    assert torch.equal(Capture(folder).features("logmel"), made) and not capsys.readouterr().err
    np.save(folder / "features" / "deepspeech.npy", values)
    with pytest.raises(UserError, match=r"deepspeech\.npy.*remove it"):
        Capture(folder).features("deepspeech")
