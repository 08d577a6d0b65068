from dataclasses import fields, replace

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from talkingavatar.body.models import load_body
from talkingavatar.data.capture import RATE, Capture, Span, Table
from talkingavatar.errors import UserError
from talkingavatar.preprocessing import assemble
from talkingavatar.preprocessing.aligned import load_alignment, save_alignment
from talkingavatar.preprocessing.alignment.align import Alignment
from talkingavatar.preprocessing.alignment.distances import Distances
from talkingavatar.preprocessing.clip import Clip, Cutout, ingest
from talkingavatar.preprocessing.keypoints import LEFT_HAND, Keypoints
from talkingavatar.preprocessing.landmarks.source import Actions
from talkingavatar.preprocessing.matting import composite
from talkingavatar.preprocessing.stages import Stage, run_stage
from talkingavatar.types import BodyPose
from tests.preprocessing.videos import numbered, tone, write_video

FRAMES, WIDTH, HEIGHT = 30, 160, 96


def keypoints(frames: int = FRAMES, without_face: tuple[int, ...] = ()) -> Keypoints:
    rng = np.random.default_rng(0)
    points = np.zeros((frames, 135, 3), np.float32)
    points[..., :2] = rng.uniform(40, 60, (frames, 135, 2))
    points[..., 2] = 1
    points[:, LEFT_HAND] = (np.nan, np.nan, 0)
    points[list(without_face), 67:] = (np.nan, np.nan, 0)
    faces = np.ones(frames, int)
    faces[list(without_face)] = 0
    return Keypoints(points, np.ones((frames, 2, 3), np.float32), np.ones((frames, 478, 3), np.float32), faces)


def split(frames: int, shots=None, stride: int | None = None, without_face: tuple[int, ...] = ()):
    return assemble.split_frames(keypoints(frames, without_face), shots or [(0, frames)], 25.0, 0.2, stride)


def test_the_tail_is_held_out():
    found = split(500)
    assert (found.train, found.test, found.unusable) == ((0, 400, 1), (400, 500, 1), [])


@pytest.mark.parametrize(("frames", "stride"), [(100, 1), (600, 1), (1000, 2), (2000, 4)])
def test_about_400_frames_are_trained_on(frames, stride):
    found = split(frames)
    assert found.train[2] == stride and len(found.train.frames) <= 500
    assert split(frames, stride=3).train[2] == 3


def test_the_tail_begins_at_a_cut_nearby():
    assert split(500, shots=[(0, 380), (380, 500)]).test == (380, 500, 1)
    assert split(500, shots=[(0, 179), (179, 500)]).test == (400, 500, 1)


def test_frames_without_a_face_and_stubs_of_shots_are_left_out():
    found = split(100, shots=[(0, 50), (50, 55), (55, 100)], without_face=(3, 4, 99))
    assert found.unusable == [3, 4, 50, 51, 52, 53, 54, 99]
    assert found.test[1] == 100 and found.train[1] == found.test[0]


def test_a_face_at_the_end_only_still_gives_both_parts():
    found = split(100, without_face=tuple(range(60)))
    used = set(range(100)) - set(found.unusable)
    assert used & set(found.train.frames) and used & set(found.test.frames)


def test_what_is_left_out_is_not_counted_as_trained_on():
    found = split(100, without_face=tuple(range(30, 60)), stride=1)
    assert found.usable(found.train) == [*range(30), *range(60, 86)] and found.usable(found.test) == list(
        range(86, 100)
    )


def test_a_clip_that_is_all_cuts_is_refused():
    with pytest.raises(UserError, match=r"0 usable frames of 100 \(19 cuts\)"):
        split(100, shots=[(i, i + 5) for i in range(0, 100, 5)])


def test_boxes_hold_the_points_and_gaps_stay_gaps():
    seen = keypoints(without_face=(2,))
    boxes = assemble.region_boxes(seen, WIDTH, HEIGHT)
    assert np.isnan(boxes["left_hand"]).all()
    for name in ("head", "mouth"):
        assert np.isnan(boxes[name][2]).all() and np.isfinite(boxes[name][3:]).all()
    face = seen.face68()[3, :, :2]
    assert (boxes["head"][3, :2] <= face.min(0)).all() and (boxes["head"][3, 2:] >= face.max(0)).all()
    assert (boxes["head"][3:] >= 0).all() and (boxes["head"][3:, [1, 3]] <= HEIGHT).all()


def test_a_composite_takes_the_scene_off_the_edges():
    rng = np.random.default_rng(0)
    person, scene = rng.integers(0, 255, (2, 8, 8, 3)).astype(np.uint8)
    matte = rng.integers(0, 256, (8, 8)).astype(np.uint8)
    share = matte[..., None] / 255
    picture = (share * person + (1 - share) * scene).round().astype(np.uint8)
    expected = share * person + (1 - share) * 255
    assert np.abs(composite(picture, matte, scene) - expected).max() <= 1
    assert (composite(picture, np.zeros_like(matte), scene) == 255).all()
    assert (composite(picture, np.full_like(matte, 255), None) == picture).all()


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture
def parts(tmp_path, body) -> assemble.Parts:
    """All that a capture is made of, tiny."""
    file = write_video(tmp_path / "clip.mp4", [numbered(i) for i in range(FRAMES)], sound=tone(FRAMES / 25))
    (tmp_path / "ingest").mkdir()
    ingest(file, Cutout(), False, tmp_path / "ingest", lambda title, total: lambda: None)
    clip = Clip(tmp_path / "ingest")
    clip.shots = [(0, 10), (10, FRAMES)]
    for kind in ("frames", "mattes"):
        (tmp_path / "matte" / kind).mkdir(parents=True)
        for i in range(FRAMES):
            (tmp_path / "matte" / kind / f"{i:06d}.png").write_bytes(
                (clip.folder / "frames" / f"{i:06d}.png").read_bytes()
            )
    pose = BodyPose(
        torch.zeros(1, 10).expand(FRAMES, -1), torch.rand(FRAMES, 52), torch.rand(FRAMES, 55, 3), torch.rand(FRAMES, 3)
    )
    found = Alignment(
        pose, torch.eye(3), torch.eye(4), torch.zeros(FRAMES, 137, 2), torch.zeros(137, 3),
        {"vanilla": Distances(float("nan"), 2.0, 3.0, 4.0)},
    )  # fmt: skip
    actions = Actions(["AU01"], np.linspace(0, 5, FRAMES)[:, None], 5.0)
    planned = assemble.Split(Span(0, 20), Span(20, FRAMES), [4])
    return assemble.Parts("tiny", clip, keypoints(), actions, tmp_path / "matte", found, body, 2.0, planned)


def staged(parts, tmp_path, key="k"):
    return run_stage(
        tmp_path / "work", Stage("capture", 1, {"key": key}), lambda f: assemble.write_capture(parts, {"key": key}, f)
    )


def test_what_is_published_is_a_capture(parts, tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    assert not assemble.published(folder, "k")
    assemble.publish(folder, staged(parts, tmp_path))
    assert assemble.published(folder, "k") and not assemble.published(folder, "other")
    capture = Capture(folder)
    assert capture.manifest.shots == parts.clip.shots and 4 not in capture.train_frames
    assert np.array_equal(capture.frame(7), parts.clip.frame(7))
    assert torch.equal(capture.pose([3]).full_pose, parts.alignment.pose.full_pose[[3]])
    assert capture.manifest.body == {"smplx": parts.body.checksum}
    assert capture.landmarks().shape == (FRAMES, 68, 3)
    actions = capture.table("actions")
    assert (actions.names, actions.scale) == (["AU01"], 5.0)
    assert actions.values == pytest.approx(parts.actions.values)
    heard, _ = soundfile.read(folder / "audio.flac", dtype="float32")
    late = round(2 / 25 * RATE)
    assert np.abs(heard[:-late] - parts.clip.audio[late:]).max() < 1e-3 and (heard[-late:] == 0).all()
    kept = Keypoints.load(folder / "keypoints.npz")
    assert all(np.array_equal(getattr(kept, f.name), getattr(parts.keypoints, f.name), equal_nan=True)
               for f in fields(Keypoints))  # fmt: skip


def test_a_film_that_was_made_keeps_what_moved_it(parts, tmp_path):
    (tmp_path / "shown").mkdir()
    for index in range(FRAMES):
        Image.fromarray(np.full((parts.clip.height, parts.clip.width), 8 * index, np.uint8)).save(
            tmp_path / "shown" / f"{index:06d}.png"
        )
    motion = Table([f"dyn_{i}" for i in range(70)], np.random.default_rng(0).normal(size=(FRAMES, 70)))
    moved = assemble.Moved(motion, tmp_path / "shown", {7: "turned"}, {"moved": "m", "latent": "LivePortrait"})
    split = parts.split.without(moved.invalid)
    assert split.unusable == [4, 7]
    folder = tmp_path / "x"
    folder.mkdir()
    assemble.publish(folder, staged(replace(parts, moved=moved, split=split), tmp_path))
    capture = Capture(folder)
    assert capture.table("motion").values == pytest.approx(motion.values, abs=1e-6)
    assert capture.confidence(9).max() == pytest.approx(72 / 255, abs=1e-3) and 7 not in capture.train_frames


def test_actions_of_a_face_that_was_lost_lie_between_those_seen():
    values = np.array([0, np.nan, 2, np.nan, np.nan, 5, np.nan, np.nan])[:, None]
    found = assemble.bridged(Actions(["AU01"], values, 5.0), [(0, 4), (4, 6), (6, 8)])
    assert found.values[:, 0].tolist() == [0, 1, 2, 2, 5, 5, 0, 0] and found.scale == 5


def test_publishing_may_be_stopped_anywhere(parts, tmp_path, monkeypatch):
    """After every single move: nothing that can be opened, or all of it."""
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "flame.npz").write_bytes(b"of another capture")
    from pathlib import Path

    rename = Path.rename

    class Killed(Exception):
        pass

    stops = 0
    while True:
        moved = 0

        def limited(self, target):
            nonlocal moved
            if moved == 1 and "capture" in self.parts:
                raise Killed
            moved += "capture" in self.parts
            return rename(self, target)

        made = staged(parts, tmp_path)
        monkeypatch.setattr(Path, "rename", limited)
        try:
            assemble.publish(folder, made)
            break
        except Killed:
            stops += 1
            with pytest.raises(UserError, match=r"capture\.json"):
                Capture(folder)
        finally:
            monkeypatch.setattr(Path, "rename", rename)
    assert stops >= 5 and Capture(folder).manifest.frames == FRAMES
    assert not (folder / "flame.npz").exists() and not (tmp_path / "work" / "capture").exists()


def test_an_alignment_survives_the_disk(parts, tmp_path):
    save_alignment(parts.alignment, tmp_path / "a.pt")
    found = load_alignment(tmp_path / "a.pt")
    assert torch.equal(found.pose.full_pose, parts.alignment.pose.full_pose)
    assert torch.equal(found.K, parts.alignment.K) and found.distances["vanilla"].face == 3.0
