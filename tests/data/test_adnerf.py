"""AD-NeRF's layout as it is prepared, and with what is usually wrong with it."""

import json

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from talkingavatar.body.action_units import NAMES
from talkingavatar.data.importers import FORMATS, Options
from talkingavatar.errors import UserError
from talkingavatar.geometry.cameras import project
from talkingavatar.import_capture import main
from tests.data.published import RED, SIZE, imported, picture

FOCAL, COUNT, TRAINED = 40.0, 11, 10
PARTS = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 0, 0), (100, 100, 100)]  # head, neck, torso, hair, mouth


def poses(numbers):
    """A head 0.7 m in front of a camera: poses of the camera, its y up and its z backward."""
    turn = np.diag([1.0, 1.0, 1.0, 1.0])
    turn[2, 3] = 0.7
    return [
        {"img_id": n, "aud_id": n, "transform_matrix": (turn + 0.01 * n * np.eye(4, k=3)).tolist()} for n in numbers
    ]


def write(root, train=range(TRAINED), test=range(TRAINED, COUNT), count=COUNT):
    middle = {"focal_len": FOCAL, "cx": SIZE / 2, "cy": SIZE / 2}
    for part, numbers in (("train", train), ("val", test)):
        root.mkdir(exist_ok=True)
        (root / f"transforms_{part}.json").write_text(json.dumps({**middle, "frames": poses(numbers)}))
    marks = np.stack(np.meshgrid(np.arange(17), np.arange(4)), -1).reshape(68, 2) / 4 + 4
    values = np.full((SIZE, SIZE, 3), 255, np.uint8)
    for column, colour in enumerate(PARTS):  # the left five columns are the person
        values[:, column] = colour
    (root / "parsing").mkdir()
    for n in range(count):
        picture(root / "gt_imgs" / f"{n}.jpg", (10 * n, 0, 0))
        picture(root / "ori_imgs" / f"{n}.jpg", RED)
        np.savetxt(root / "ori_imgs" / f"{n}.lms", marks + n / 10, "%f")
        Image.fromarray(values).save(root / "parsing" / f"{n}.png")
    picture(root / "bc.jpg", (0, 0, 250))
    seconds = np.arange(round(count / 25 * 16000)) / 16000
    soundfile.write(root / "aud.wav", seconds, 16000)  # a sample tells its own time
    np.save(root / "aud_ds.npy", np.arange(count - 1, dtype=np.float32)[:, None, None] + np.zeros((1, 16, 29), "f"))
    rows = [", ".join(["frame", "success", *(f"{name}_r" for name in NAMES)])]
    rows += [", ".join(map(str, [n + 1, 1, *(n / 10 + k / 4 for k in range(17))])) for n in range(count)]
    (root / "au.csv").write_text("\n".join(rows))
    return root


def test_what_they_prepared_is_a_capture(tmp_path):
    capture = imported("adnerf", tmp_path, path=write(tmp_path / "may"))
    manifest = capture.manifest
    assert (manifest.name, manifest.fps, manifest.frames) == ("may", 25.0, COUNT)
    assert capture.train_frames == list(range(TRAINED)) and capture.test_frames == [10]
    assert abs(int(capture.frame(9)[0, 0, 0]) - 90) < 4, "by number, not by name: 10 comes after 9"
    assert (capture.matte(3)[:, :5] == 255).all() and (capture.matte(3)[:, 5:] == 0).all()
    # The head's place is in front of the camera, and what is up there is up in the picture.
    seen = project(torch.tensor([[[0.0, 0, 0], [0, 0.07, 0]]]), capture.cameras([0]))[0]
    assert np.allclose(seen, [[8, 8], [8, 8 - FOCAL * 0.1]])
    assert capture.landmarks()[5, :, 2].min() == 1 and np.allclose(capture.landmarks()[5, 0, :2], [4.5, 4.5])
    table = capture.table("aus")
    assert table.names == list(NAMES) and np.allclose(table.values[7], np.clip(0.7 + np.arange(17) / 4, 0, 5))
    assert np.isclose(capture.audio[16000 * 4 // 25], 4 / 25, atol=1e-3)
    windows = np.load(capture.folder / "aud_ds.npy")
    assert windows.shape == (COUNT, 16, 29) and windows[:, 0, 0].tolist() == [*range(10), 9]
    assert capture.background()[0, 0, 2] > 240
    assert manifest.provenance["pictures"] == "gt_imgs" and manifest.provenance["warnings"] == [
        "aud_ds.npy ends 1 windows early: the last stands for them, as in their loaders"
    ]


def test_their_quirks_are_told(tmp_path):
    root = write(tmp_path / "may", train=[3, 2, 1, 0, 5, 6, 7, 8, 99], test=[8, 9, 10])
    (root / "ori_imgs" / "6.lms").unlink()
    (root / "parsing" / "2.png").unlink()
    for name in ("au.csv", "aud.wav"):
        (root / name).unlink()
    np.save(root / "aud_hu.npy", np.zeros((COUNT, 2, 1024), np.float32))
    capture = imported("adnerf", tmp_path, path=root)
    assert capture.manifest.frames == 10 and capture.manifest.shots == [(0, 4), (4, 10)]
    assert capture.train_frames == [0, 1, 3, 4, 5, 6] and capture.test_frames == [7, 8, 9]
    assert np.isnan(capture.landmarks()[5, :, 0]).all() and not capture.audio.any()
    told = " | ".join(capture.manifest.provenance["warnings"])
    for quirk in (
        "not in the order", "1 entries have no picture", "1 pictures are in both parts", "2 shots", "no aud.wav",
        "1 frames have no parsing", "1 of 10 frames have no landmarks", "no au.csv", "aud_hu.npy: windows of shape",
    ):  # fmt: skip
        assert quirk in told


def test_poses_that_were_numbered_without_a_picture_are_told(tmp_path):
    root = write(tmp_path / "may", test=[10], count=COUNT + 1)
    (root / "ori_imgs" / "4.lms").unlink()
    clip = FORMATS["adnerf"](Options(root))
    assert any("the first: 4" in line and "a later picture" in line for line in clip.warnings)


def test_a_bare_folder_of_pictures_will_do(tmp_path):
    root = write(tmp_path / "may")
    for name in ("gt_imgs", "parsing"):
        (root / name).rename(tmp_path / name)
    (root / "transforms_val.json").unlink()
    capture = imported("adnerf", tmp_path, path=root, width=32)
    told = " | ".join(capture.manifest.provenance["warnings"])
    assert "ori_imgs/ is taken" in told and "no parsing" in told and "a tail is held out" in told
    assert capture.matte(0).min() == 255 and np.allclose(capture.Ks[0, 0, 0, 0], 2 * FOCAL)
    assert capture.test_frames == [9]


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("transforms_train.json", None, "transforms_train.json"),
        ("transforms_train.json", "{", "JSON"),
        ("transforms_train.json", '{"focal_len": 1, "frames": [{"img_id": 0}]}', "transform_matrix"),
        ("transforms_val.json", '{"frames": [{"img_id": "x"}]}', "whole number"),
        ("ori_imgs/3.lms", "1 2", "68 rows"),
        ("au.csv", "frame, AU01_r\n1, 2", "no column"),
        ("aud.wav", "noise", "aud.wav"),
    ],
)
def test_what_is_damaged_is_named(tmp_path, file, content, expected):
    root = write(tmp_path / "may")
    (root / file).unlink() if content is None else (root / file).write_text(content)
    with pytest.raises(UserError) as error:
        FORMATS["adnerf"](Options(root))
    assert expected in str(error.value)


def test_the_command_writes_it(tmp_path, capsys):
    assert main(["from=adnerf", f"path={write(tmp_path / 'may')}", f"out={tmp_path / 'out'}"]) == 0
    told = capsys.readouterr()
    assert f"capture: {tmp_path / 'out'}" in told.out and "tracked: no: preprocess" in told.out
    assert "warning: aud_ds.npy ends 1 windows early" in told.err
