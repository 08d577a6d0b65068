import hashlib
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from talkingavatar.body.action_units import NAMES
from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.config.emotions import EMOTIONS
from talkingavatar.config.ranges import PEOPLE
from talkingavatar.data.action_units import JAW_JOINT, JAW_OPEN, read_action_units
from talkingavatar.data.capture import Capture, CaptureWriter, Table
from talkingavatar.data.faces import FACE_JOINTS, Face
from talkingavatar.data.speaker.record import AROUND, SIDES, _digest, _write, recording_of, speaker_capture
from talkingavatar.data.speaker.scene import SpeakerScene
from talkingavatar.data.speaker.views import SpeakerCapture
from talkingavatar.errors import UserError

CONFIG = compose(["data.seconds=2", "data.size=64"]).data


def quietly(title, total):
    return lambda: None


@pytest.fixture(scope="module")
def folder(cache):
    return speaker_capture(CONFIG, quietly)


@pytest.fixture(scope="module")
def scene(cache):
    return SpeakerScene(CONFIG.identity, 64, 64, CONFIG.framing)


def digests(folder):
    """Of every file but the features and views from the side, which are made when they are asked for."""
    made = {"features", *SIDES}
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.parent.name not in made)
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture
def own_cache(folder, tmp_path, monkeypatch):
    """A cache that others do not record into, with the rig."""
    monkeypatch.setenv("TALKINGAVATAR_CACHE", str(tmp_path))
    (tmp_path / "body").symlink_to(folder.parent.parent / "body")
    return tmp_path


def test_the_same_configuration_gives_the_same_bytes_in_place_of_damaged_ones(folder, own_cache, capsys):
    damaged = shutil.copytree(folder, own_cache / "captures" / folder.name)
    table = damaged / "smplx.npz"
    table.write_bytes(table.read_bytes()[:-1])
    for frame in range(50):
        (damaged / f"frames/front/{frame:06d}.png").unlink()
    again = speaker_capture(CONFIG, quietly)
    assert again == damaged and digests(again) == digests(folder)
    assert f"{damaged}: not as it was written: it is made anew" in capsys.readouterr().err
    assert [file.name for file in damaged.parent.iterdir()] == [folder.name]


def test_what_is_done_with_a_capture_does_not_make_another(folder):
    used = compose(["data.seconds=2", "data.size=64", "data.exposure=true", "data.views=[front]", "data.cache_mb=5"])
    assert speaker_capture(used.data, quietly) == folder


def test_a_cloth_has_a_capture_of_its_own():
    own, striped = (compose(["data.identity=1", f"data.cloth={cloth}"]).data for cloth in ("own", "pinstripe"))
    assert _digest(own) != _digest(striped)


def test_an_interrupted_recording_leaves_nothing(own_cache):
    drawn = []

    def interrupted(title, total):
        def tick():
            drawn.append(total)
            if len(drawn) == 3:
                raise KeyboardInterrupt

        return tick

    with pytest.raises(KeyboardInterrupt):
        speaker_capture(replace(CONFIG, seed=1), interrupted)
    assert drawn == [50] * 3
    assert not list((own_cache / "captures").iterdir())


def test_a_picture_that_cannot_be_drawn_is_told(monkeypatch):
    monkeypatch.setattr(SpeakerScene, "render", lambda *args: np.zeros(0)[1])
    with pytest.raises(IndexError):
        speaker_capture(replace(CONFIG, seed=2), quietly)


def test_pictures_that_this_machine_cannot_hold_are_refused_before_they_are_drawn(cache, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2 * 10**6}.__getitem__)
    with pytest.raises(UserError, match=r"data\.size: found 8192: about 26\.8 GB; .* 8\.2 GB, this machine's memory"):
        speaker_capture(replace(CONFIG, size=8192), pytest.fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**5))
    with pytest.raises(UserError, match=r"at most 0\.0 GB, this machine's disk"):
        speaker_capture(replace(CONFIG, seed=77), pytest.fail)


def test_it_reads_back_as_a_capture(folder):
    capture = Capture(folder)
    assert capture.manifest.frames == 50 and capture.manifest.fps == 25
    assert capture.train_frames == list(range(0, 40, 4)) and capture.test_frames == list(range(40, 50))
    assert capture.features("logmel").shape == (50, 16, 44)
    head = capture.regions["head"][0]
    assert 0 < head[0] < head[2] < 64 and 0 < head[1] < head[3] < 40
    matte = capture.matte(0)
    assert 0.2 < (matte > 127).mean() < 0.7
    assert (capture.frame(0)[matte == 0] == 255).all()


def test_the_speaker_can_be_drawn_with_any_face(folder):
    """With its own, the recorded picture; with an open jaw, another mouth alone."""
    capture, body = SpeakerCapture(folder, CONFIG), load_body("open")
    pose = capture.true_pose([45])
    own = Face(
        "own",
        dict(zip(body.expression_names, pose.expression[0].tolist(), strict=True)),
        {name: pose.full_pose[0, body.joint_names.index(name)].tolist() for name in FACE_JOINTS},
    )
    drawn, matte = capture.imagined(45, own)
    assert (
        abs(drawn.astype(int) - capture.frame(45)).max() <= 1 and abs(matte.astype(int) - capture.matte(45)).max() <= 1
    )
    wide, _ = capture.imagined(45, replace(own, joints=own.joints | {"jaw": [0.35, 0, 0]}))
    rows = np.flatnonzero((abs(wide.astype(int) - drawn) > 8).any((1, 2)))
    top, _, bottom = (float(capture.regions["head"][45][i]) for i in (1, 0, 3))
    assert len(rows) and rows.min() > 0.5 * (top + bottom)


def test_views_from_the_side_are_drawn_when_they_are_asked_for(folder, scene, tmp_path, monkeypatch):
    """What a held-out camera sees is the true pose, drawn once; a plain capture reads what is there."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=lambda place, names: set(SIDES) & set(names))
    capture = SpeakerCapture(copy, CONFIG)
    assert (capture.manifest.views, capture.manifest.test_views) == (["front", *SIDES], list(SIDES))
    with pytest.raises(UserError, match="no such file"):
        Capture(copy).frame(41, "30")
    drawn = list(capture.view_pictures("30", [41, 45]))
    pose = capture.true_pose([41])
    true = (pose.full_pose[0].numpy(), pose.transl[0].numpy(), pose.expression[0].numpy())
    expected = scene.render(*true, scene.side_camera(30.0))
    assert all(np.array_equal(a, b) for a, b in zip(drawn[0], expected, strict=True))
    monkeypatch.setattr(SpeakerScene, "render", lambda *args: pytest.fail("drawn twice"))
    again = SpeakerCapture(copy, CONFIG)
    assert np.array_equal(next(again.view_pictures("30", [45]))[0], drawn[1][0])
    assert np.array_equal(Capture(copy).frame(41, "30"), drawn[0][0])
    K, viewmat = scene.side_camera(30.0)
    cameras = capture.cameras([41], "30")
    assert np.array_equal(cameras.viewmats[0], viewmat.astype(np.float32)) and np.array_equal(
        cameras.Ks[0], K.astype(np.float32)
    )
    assert np.array_equal(capture.frame(41), Capture(folder).frame(41))


def test_emotions_are_written_with_action_units_and_seen_by_several_cameras(scene, tmp_path):
    config = replace(CONFIG, fps=10, emotions="all", cameras=3)
    recording = recording_of(config)
    vars(recording)["scene"] = scene  # as it is, seconds sooner
    _write(recording, tmp_path, quietly)
    capture = Capture(tmp_path)
    assert capture.manifest.views == ["front", "35", "325", *SIDES] and capture.manifest.test_views == list(SIDES)
    assert not set(AROUND) & set(SIDES) and len({*AROUND}) == 11 - 1  # the most that `data.cameras` may be
    seen = [capture.frame(17, view) for view in ("front", "35", "325")]
    assert not np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[1], seen[2])
    assert capture.seen_by("35", range(20)) == [*capture.train_frames, *capture.test_frames]
    labels, felt = capture.table("emotion"), capture.table("emotion", truth=True)
    assert labels.names == felt.names == list(EMOTIONS)
    np.testing.assert_allclose(felt.values.sum(1), 1.0, atol=1e-6)
    assert labels.values.argmax(1)[10] == felt.values.argmax(1)[10]
    true, tracked = read_action_units(capture, truth=True), read_action_units(capture)
    assert true.names == tracked.names == list(NAMES) and true.scale == 5
    assert true.values.max() <= 5 and true.values[:, -1].max() > tracked.values[:, -1].max() - 0.5
    jaw = recording.performance.full_pose[:, JAW_JOINT, 0]
    np.testing.assert_allclose(true.values[:, true.names.index("AU26")], 5 * np.clip(jaw / JAW_OPEN, 0, 1), atol=1e-5)


def test_actions_are_those_that_pose_the_face(folder):
    capture = Capture(folder)
    for truth, pose in ((False, capture.pose([3])), (True, capture.true_pose([3]))):
        table = capture.table("actions", truth)
        assert table.names == load_body("open").expression_names and table.scale == 1
        assert np.array_equal(table.values[3], pose.expression[0])


def test_true_landmarks_lie_on_the_true_face(folder):
    capture = Capture(folder)
    truth, tracked = capture.landmarks(truth=True), capture.landmarks()
    low, high = capture.regions["head"][:, None, :2], capture.regions["head"][:, None, 2:]
    assert ((truth[..., :2] > low - 1) & (truth[..., :2] < high + 1)).all()
    assert 0 < np.abs(truth[..., :2] - tracked[..., :2]).mean() < 2
    assert (tracked[..., 2] < 1).all() and (truth[..., 2] == 1).all()


def test_flame_parameters_pose_the_same_head(folder):
    """FLAME's part of the parameters, on the open rig's FLAME file, is the SMPL-X head in the world."""
    capture = Capture(folder)
    frames = [0, 20, 45]
    body, head = load_body("open"), load_body("open_flame")
    whole, _ = body(capture.true_pose(frames))
    crop, _ = head(capture.true_pose(frames, "flame"))
    for region in ("left_eye", "lip_outer_upper", "lip_outer_lower", "teeth_lower"):
        a, b = whole[:, body.regions[region]], crop[:, head.regions[region]]
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_what_cannot_be_played_is_refused():
    with pytest.raises(UserError, match=rf"data\.identity: .* 0 to {PEOPLE}"):
        compose([f"data.identity={PEOPLE + 1}"])
    compose([f"data.identity={PEOPLE}"])
    with pytest.raises(UserError, match=r"data\.seconds"):
        recording_of(compose(["data.seconds=9999"]).data)


def test_truth_and_tracking_differ_as_configured():
    exact = recording_of(compose(["data.seconds=2", "data.size=64", "data.tracker_noise=0"]).data)
    assert np.array_equal(exact.tracked.full_pose, exact.performance.full_pose)
    noisy = recording_of(CONFIG)
    assert not np.array_equal(noisy.tracked.full_pose, noisy.performance.full_pose)


def test_a_capture_without_action_units_says_so(folder, tmp_path):
    """Facial actions stand in for them; a table of others than OpenFace's, or out of their range, is refused."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    own, true = read_action_units(Capture(copy)), read_action_units(Capture(copy), truth=True)
    assert own.values.shape == (50, 17) and np.abs(own.values - true.values).max() > 0.2
    (copy / "actions.npz").unlink()
    with pytest.raises(UserError, match=r"no action units; expected aus\.npz, or actions\.npz .*; take the embedded"):
        read_action_units(Capture(copy))
    writer = CaptureWriter(copy)
    writer.table("actions", Table(own.names[::-1], own.values[:, ::-1], 5.0))  # as OpenFace's are kept
    assert np.array_equal(read_action_units(Capture(copy)).values, own.values)
    writer.table("aus", Table(["AU01"], np.zeros((50, 1), np.float32), 5.0))
    with pytest.raises(UserError, match=r"aus\.npz:names: found no AU02"):
        read_action_units(Capture(copy))
    high = own.values.copy()
    high[3, 2] = 6.0
    writer.table("aus", Table(own.names, high, 5.0))
    with pytest.raises(UserError, match=r"AU04 is 6 in frame 3; expected 0 to 5"):
        read_action_units(Capture(copy))
