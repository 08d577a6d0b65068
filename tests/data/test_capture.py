import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from talkingavatar.data.capture import REGIONS, Capture, CaptureWriter, Manifest, Span, Table
from talkingavatar.errors import UserError

FRAMES, SIZE, FPS = 10, 24, 25.0
VIEWS = ["front", "left", "right"]
ACTIONS = Table(["AU01", "AU12"], np.arange(2.0 * FRAMES, dtype=np.float32).reshape(FRAMES, 2), 5.0)


def viewmat(view: int, frame: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:2, 3] = view, frame
    return matrix


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A small capture by three cameras; the right one is held out and saw a few frames only."""
    made = tmp_path_factory.mktemp("small")
    rng, writer = np.random.default_rng(0), CaptureWriter(made, VIEWS)
    for view in VIEWS:
        for i in range(FRAMES):
            if view != "right" or i == 8:
                pixels = rng.integers(0, 255, (SIZE, SIZE, 4), dtype=np.uint8)
                writer.picture(i, pixels[..., :3], pixels[..., 3], view)
    writer.sound(rng.normal(size=FRAMES * 640).clip(-1, 1) * 0.1)
    viewmats = np.array([[viewmat(view, frame) for frame in range(FRAMES)] for view in range(3)])
    writer.cameras(viewmats, np.eye(3)[None, None].repeat(3, 0))
    shapes = {"betas": 10, "expression": (FRAMES, 5), "full_pose": (FRAMES, 55, 3), "transl": (FRAMES, 3)}
    writer.parameters("smplx", {key: np.zeros(shape) for key, shape in shapes.items()}, list("abcde"))
    writer.regions(dict.fromkeys(REGIONS, np.tile([2.0, 2, 20, 20], (FRAMES, 1))))
    writer.table("actions", ACTIONS)
    train, test = [Span(0, 8, 4)], [Span(8, 10)]
    writer.finish(Manifest("tiny", FPS, SIZE, SIZE, FRAMES, train, test, VIEWS, ["right"]))
    return made


@pytest.fixture
def folder(small, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(small, tmp_path / "capture")


def edit(file, **changes):
    table = dict(np.load(file))
    np.savez(file, **(table | changes))


def state(folder, **changes):
    """Other words in the manifest."""
    content = json.loads((folder / "capture.json").read_text())
    (folder / "capture.json").write_text(json.dumps(content | changes))


def test_reads_what_was_written(folder):
    capture = Capture(folder)
    assert capture.train_frames == [0, 4] and capture.test_frames == [8, 9]
    assert capture.frame(3).shape == (SIZE, SIZE, 3) and capture.matte(3).shape == (SIZE, SIZE)
    pose = capture.pose([1, 2])
    assert pose.full_pose.shape == (2, 55, 3) and pose.betas.shape == (2, 10)
    assert capture.true_pose([0]) is None
    assert len(capture.cameras([0, 1, 2])) == 3


def test_every_view_has_its_pictures_and_its_camera(folder):
    capture = Capture(folder)
    assert (capture.frame(3) == capture.frame(3, "front")).all() and (
        capture.frame(3) != capture.frame(3, "left")
    ).any()
    assert capture.cameras([2, 7], "left").viewmats[:, :2, 3].tolist() == [[1, 2], [1, 7]]
    assert capture.cameras([2]).viewmats[0, :2, 3].tolist() == [0, 2]
    assert capture.seen_by("right", [7, 8, 9]) == [8] and capture.seen_by("left", [7, 8]) == [7, 8]
    ((image, matte),) = capture.view_pictures("right", [8])
    assert (image == capture.frame(8, "right")).all() and (matte == capture.matte(8, "right")).all()
    with pytest.raises(UserError, match=r"frames/right/000009\.png: found no such file"):
        list(capture.view_pictures("right", [8, 9]))


def test_pixels_are_believed_as_far_as_the_capture_says(folder):
    assert Capture(folder).confidence(0) is None
    values = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE).astype(np.uint8)
    writer = CaptureWriter(folder, VIEWS)
    for i in range(FRAMES):
        writer.confidence(i, values + np.uint8(i))
    capture = Capture(folder)
    np.testing.assert_allclose(capture.confidence(3, "front"), (values + np.uint8(3)) / 255, atol=1e-6)
    assert capture.confidence(3, "left") is None
    (folder / "confidence" / "front" / "000004.png").unlink()
    with pytest.raises(UserError, match=r"confidence/front/000004\.png: found no such file"):
        Capture(folder)


def test_any_table_of_a_row_a_frame_is_read_alike(folder):
    capture = Capture(folder)
    found = capture.table("actions")
    assert found is not None and (found.names, found.scale) == (ACTIONS.names, 5.0)
    assert (found.values == ACTIONS.values).all()
    assert capture.table("motion") is None and capture.table("actions", truth=True) is None
    CaptureWriter(folder).table("motion", Table(["x"], np.zeros((3, 1), np.float32)))
    CaptureWriter(folder).table("emotion", Table(["joy"], np.full((FRAMES, 1), np.inf, np.float32)), truth=True)
    with pytest.raises(UserError, match=r"motion\.npz:values: found \(3, 1\); expected 10 frames of 1 names"):
        capture.table("motion")
    with pytest.raises(UserError, match=r"truth/emotion\.npz:values: found infinity at \[0, 0\]"):
        capture.table("emotion", truth=True)


def test_whole_sentences_are_held_out(folder):
    """Spans of both parts lie in any order; what a stride passes over belongs to its part."""
    state(folder, train=[[0, 3, 2], [7, 10, 1]], test=[[3, 7, 3]], shots=[[0, 3], [3, 7], [7, 10]])
    capture = Capture(folder)
    assert capture.train_frames == [0, 2, 7, 8, 9] and capture.test_frames == [3, 6]
    manifest = capture.manifest
    assert np.flatnonzero(manifest.inside(manifest.train)).tolist() == [0, 1, 2, 7, 8, 9]
    assert np.flatnonzero(manifest.inside(manifest.test)).tolist() == [3, 4, 5, 6]


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
    file = folder / "frames" / "front" / "000000.png"
    file.write_bytes(file.read_bytes()[:300])
    return "000000.png"


def wrong_size(folder):
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(folder / "frames" / "front" / "000000.png")
    return "000000.png"


def missing_frame(folder):
    (folder / "frames" / "front" / "000000.png").unlink()
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


def earlier_version(folder):
    content = {"format": "talkingavatar-capture", "version": 1, "name": "tiny", "train": [0, 8, 4], "test": [8, 10, 1]}
    (folder / "capture.json").write_text(json.dumps(content))
    return "version 1; expected talkingavatar-capture version 2; make the capture again, with preprocess or"


def later_version(folder):
    state(folder, version=99)
    return "version 99"


def shots_with_a_hole(folder):
    state(folder, shots=[[0, 4], [5, 10]])
    return "shots that cover 0 to 10"


def nothing_usable(folder):
    state(folder, unusable=[8, 9])
    return "an empty split"


def span_beyond_the_end(folder):
    state(folder, test=[[8, 11, 1]])
    return r"capture\.json:test: found \[8, 11, 1\]"


def held_out_and_trained_on(folder):
    state(folder, train=[[0, 3, 1], [4, 9, 4]])
    return "frame 8 in both"


def view_that_is_a_path(folder):
    state(folder, views=["front", "left", "../right"])
    return "names of cameras"


def first_view_held_out(folder):
    state(folder, test_views=["front"])
    return "found front; expected some of left, right"


def a_camera_too_few(folder):
    edit(folder / "cameras.npz", Ks=np.eye(3)[None, None].repeat(2, 0))
    return r"cameras\.npz:Ks: found \(2, 1, 3, 3\); expected 3 views"


def broken_table(folder):
    (folder / "cameras.npz").write_bytes(b"PK nothing")
    return "cameras.npz"


def no_table(folder):
    (folder / "regions.npz").unlink()
    return "regions.npz: found no such file"


@pytest.mark.parametrize(
    "damage",
    [nan_pose, short_sound, wrong_rate, too_few_rows, no_manifest, no_folder, foreign_manifest, earlier_version,
     later_version, broken_table, no_table, shots_with_a_hole, nothing_usable, span_beyond_the_end,
     held_out_and_trained_on, view_that_is_a_path, first_view_held_out, a_camera_too_few],
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
    state(folder, unusable=[4, 5, 9])
    capture = Capture(folder)
    assert capture.train_frames == [0] and capture.test_frames == [8]


def test_no_window_hears_beyond_a_cut(folder):
    """Changing all sound of the second shot changes nothing in the first one's windows, and the other way round."""
    state(folder, shots=[[0, 4], [4, 10]])
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


@pytest.mark.parametrize("damage", ["cut", "nan", "shape", "folder"])
def test_damaged_windows_are_made_anew(folder, damage, capsys):
    windows, file = Capture(folder).features("logmel"), folder / "features/logmel.npy"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        np.save(file, windows[:, :, :3] * np.nan if damage == "nan" else windows[:-1])
    assert torch.equal(Capture(folder).features("logmel"), windows)
    assert "made anew" in capsys.readouterr().err
