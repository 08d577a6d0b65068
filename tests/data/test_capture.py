import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from talkingavatar.data.capture import Capture, Manifest
from talkingavatar.errors import UserError

FRAMES, SIZE, FPS = 10, 24, 25.0


@pytest.fixture
def folder(tmp_path):
    """A small capture, written as the format says."""
    rng = np.random.default_rng(0)
    Manifest("tiny", FPS, SIZE, SIZE, FRAMES, (0, 8, 4), (8, 10, 1)).write(tmp_path)
    for kind, shape in {"frames": (SIZE, SIZE, 3), "mattes": (SIZE, SIZE)}.items():
        (tmp_path / kind).mkdir()
        for i in range(FRAMES):
            pixels = rng.integers(0, 255, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / f"{i:06d}.png")
    soundfile.write(tmp_path / "audio.flac", rng.normal(size=FRAMES * 640).clip(-1, 1) * 0.1, 16000)
    np.savez(tmp_path / "cameras.npz", viewmats=np.eye(4)[None], Ks=np.eye(3)[None])
    np.savez(
        tmp_path / "smplx.npz", betas=np.zeros(10), expression=np.zeros((FRAMES, 5)),
        full_pose=np.zeros((FRAMES, 55, 3)), transl=np.zeros((FRAMES, 3)), expression_names=list("abcde"),
    )  # fmt: skip
    box = np.tile([2.0, 2, 20, 20], (FRAMES, 1))
    np.savez(tmp_path / "regions.npz", head=box, mouth=box, left_hand=box, right_hand=box)
    return tmp_path


def edit(file, **changes):
    table = dict(np.load(file))
    np.savez(file, **(table | changes))


def test_reads_what_was_written(folder):
    capture = Capture(folder)
    assert capture.train_frames == [0, 4] and capture.test_frames == [8, 9]
    assert capture.frame(3).shape == (SIZE, SIZE, 3) and capture.matte(3).shape == (SIZE, SIZE)
    pose = capture.pose([1, 2])
    assert pose.full_pose.shape == (2, 55, 3) and pose.betas.shape == (2, 10)
    assert capture.true_pose([0]) is None
    assert len(capture.cameras([0, 1, 2])) == 3


def test_pictures_in_memory_stay_within_the_budget(folder):
    capture = Capture(folder, cache_mb=1)
    capture.pictures.cache_limit = 3 * SIZE * SIZE * 3
    first = capture.frame(0)
    for i in range(FRAMES):
        capture.frame(i)
        assert capture.pictures.cache_bytes <= capture.pictures.cache_limit
        assert capture.pictures.cache_bytes == sum(p.nbytes for p in capture.pictures._cache.values())
    assert (capture.frame(0) == first).all()


def truncated_frame(folder):
    file = folder / "frames" / "000000.png"
    file.write_bytes(file.read_bytes()[:300])
    return "000000.png"


def wrong_size(folder):
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(folder / "frames" / "000000.png")
    return "000000.png"


def missing_frame(folder):
    (folder / "frames" / "000000.png").unlink()
    return "000000.png"


@pytest.mark.parametrize("damage", [truncated_frame, wrong_size, missing_frame])
def test_a_bad_picture_is_named(folder, damage):
    named = damage(folder)
    with pytest.raises(UserError, match=named):
        Capture(folder).frame(0)


def nan_pose(folder):
    poses = np.zeros((FRAMES, 55, 3))
    poses[7, 3, 1] = np.nan
    edit(folder / "smplx.npz", full_pose=poses)
    return r"smplx.npz:full_pose: found NaN at \[7, 3, 1\]"


def short_sound(folder):
    soundfile.write(folder / "audio.flac", np.zeros(1600), 16000)
    return "0.10 s of sound; expected 0.40 s"


def wrong_rate(folder):
    soundfile.write(folder / "audio.flac", np.zeros(FRAMES * 640), 8000)
    return "8000 Hz"


def too_few_rows(folder):
    edit(folder / "smplx.npz", transl=np.zeros((3, 3)))
    return "3 rows; expected 10 frames"


def no_manifest(folder):
    (folder / "capture.json").unlink()
    return "without capture.json"


def no_folder(folder):
    shutil.rmtree(folder)
    return "no such folder"


def foreign_manifest(folder):
    (folder / "capture.json").write_text("{}")
    return "capture.json"


def later_version(folder):
    content = json.loads((folder / "capture.json").read_text())
    (folder / "capture.json").write_text(json.dumps(content | {"version": 99}))
    return "version 99"


def shots_with_a_hole(folder):
    content = json.loads((folder / "capture.json").read_text())
    (folder / "capture.json").write_text(json.dumps(content | {"shots": [[0, 4], [5, 10]]}))
    return "shots that cover 0 to 10"


def nothing_usable(folder):
    content = json.loads((folder / "capture.json").read_text())
    (folder / "capture.json").write_text(json.dumps(content | {"unusable": [8, 9]}))
    return "an empty split"


def broken_table(folder):
    (folder / "cameras.npz").write_bytes(b"PK nothing")
    return "cameras.npz"


def no_table(folder):
    (folder / "regions.npz").unlink()
    return "regions.npz: found no such file"


@pytest.mark.parametrize(
    "damage",
    [nan_pose, short_sound, wrong_rate, too_few_rows, no_manifest, no_folder, foreign_manifest, later_version,
     broken_table, no_table, shots_with_a_hole, nothing_usable],
)  # fmt: skip
def test_a_bad_capture_is_refused_when_opened(folder, damage):
    message = damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        Capture(folder)
    assert "\n" not in str(caught.value)


def test_a_capture_without_shots_has_one(folder):
    content = json.loads((folder / "capture.json").read_text())
    del content["shots"], content["unusable"]
    (folder / "capture.json").write_text(json.dumps(content))
    assert Capture(folder).manifest.shots == [(0, FRAMES)]
    assert Capture(folder).background() is None


def test_unusable_frames_are_in_neither_part(folder):
    content = json.loads((folder / "capture.json").read_text())
    (folder / "capture.json").write_text(json.dumps(content | {"unusable": [4, 5, 9]}))
    capture = Capture(folder)
    assert capture.train_frames == [0] and capture.test_frames == [8]


def test_no_window_hears_beyond_a_cut(folder):
    """Changing all sound of the second shot changes nothing in the first one's windows, and the other way round."""
    content = json.loads((folder / "capture.json").read_text())
    (folder / "capture.json").write_text(json.dumps(content | {"shots": [[0, 4], [4, 10]]}))
    samples, _ = soundfile.read(folder / "audio.flac")
    before = Capture(folder).features("logmel")
    shutil.rmtree(folder / "features")
    soundfile.write(folder / "audio.flac", np.concatenate([samples[: 4 * 640], -0.5 * samples[4 * 640 :]]), 16000)
    after = Capture(folder).features("logmel")
    assert torch.equal(before[:4], after[:4])
    assert not torch.isclose(before[4:], after[4:]).all((1, 2)).any()


def test_the_scene_without_the_person_is_read(folder):
    Image.fromarray(np.full((SIZE, SIZE, 3), 7, np.uint8)).save(folder / "background.png")
    assert (Capture(folder).background() == 7).all()
