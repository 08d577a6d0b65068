"""Short fits are given fewer frames, so that each is visited."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.data.capture import Capture, CaptureWriter
from talkingavatar.data.datamodule import CaptureData, thinned, trained_views
from talkingavatar.data.resident import ResidentPictures
from talkingavatar.engine.build import build_data
from talkingavatar.errors import UserError

SMALL = ["data.seconds=2", "data.size=64", "tracking=none", "trainer.progress=false"]


def test_thinning_keeps_the_first_and_an_even_spacing():
    frames = list(range(400))
    left = thinned(frames, 120)
    assert left == frames[::4] and len(left) <= 120
    assert thinned(frames, 400) == frames
    assert thinned(frames[:5], 8) == frames[:5]


def test_a_step_may_have_a_background_of_its_own():
    config = compose(["debug=one_step", "tracking=none", "trainer.progress=false", "data.random_background=true"])
    data = build_data(config)
    (batch,) = data.train_dataloader()
    plain = data.batch([int(batch.signal.frame[0])])
    assert not torch.equal(batch.background, plain.background)
    outside, inside = plain.matte[..., 0] == 0, plain.matte[..., 0] == 1
    torch.testing.assert_close(batch.image[outside], batch.background.expand(int(outside.sum()), 3))
    torch.testing.assert_close(batch.image[inside], plain.image[inside])


def test_pictures_kept_on_a_device_are_those_of_the_capture(monkeypatch):
    config = compose([*SMALL, "data.random_background=true", "budget.frames_per_step=2"])
    data = build_data(config)
    steps, read, real = (0, 1, 0), [], data.capture.view_pictures
    plain = [data.batch_of_step(step) for step in steps]
    monkeypatch.setattr(data.capture, "view_pictures", lambda view, frames: read.extend(frames) or real(view, frames))
    for most_mb, times in ((64, 4), (0, 6)):
        data.resident = ResidentPictures(data.capture, torch.device("cpu"), most_mb)
        for step, expected in zip(steps, plain, strict=True):
            batch = data.batch_of_step(step)
            assert torch.equal(batch.image, expected.image) and torch.equal(batch.matte, expected.matte)
            assert torch.equal(batch.background, expected.background)
        assert len(read) == times and len(set(read)) == 4
        read.clear()


def test_pixels_weigh_by_confidence_where_that_is_asked_for(tmp_path):
    config = compose(SMALL)
    folder = shutil.copytree(build_data(config).capture.folder, tmp_path / "capture")
    values = np.arange(64 * 64).reshape(64, 64) % 256
    for frame in range(50):
        CaptureWriter(folder).confidence(frame, (values + frame).astype(np.uint8))
    data = CaptureData(Capture(folder), config)
    assert data.batch([3]).weight is None
    config.data.confidence = True
    expected = torch.from_numpy(np.stack([(values + 3) % 256, (values + 8) % 256])).float()[..., None] / 255
    torch.testing.assert_close(data.batch([3, 8]).weight, expected)
    data.resident = ResidentPictures(data.capture, torch.device("cpu"), 64, confidence=True)
    for _ in range(2):
        torch.testing.assert_close(data.training_batch([3, 8]).weight, expected)


def test_steps_take_turns_with_the_views():
    config = compose(SMALL)
    data = build_data(config)
    assert data.views == ["front"]
    front = data.batch_of_step(1)
    data.capture.manifest = replace(data.capture.manifest, test_views=["60"])
    data.views = trained_views(data.capture.manifest, ["front", "30"])
    side, frame = data.batch_of_step(1), int(front.signal.frame[0])
    assert torch.equal(data.batch_of_step(2).cameras.viewmats, front.cameras.viewmats)
    assert torch.equal(side.signal.frame, front.signal.frame) and not torch.equal(side.image, front.image)
    assert torch.equal(side.cameras.viewmats, data.capture.cameras([frame], "30").viewmats)
    assert torch.equal((side.image[0] * 255).round(), torch.from_numpy(data.capture.frame(frame, "30")).float())
    with pytest.raises(UserError, match=r"data\.views: found 60, left; expected some of front, 30"):
        trained_views(data.capture.manifest, ["60", "left"])
    assert trained_views(data.capture.manifest, ["all"]) == [v for v in data.capture.manifest.views if v != "60"]


def test_motion_is_told_by_neighbours_of_the_same_shot():
    config = compose(["debug=one_step", "tracking=none", "trainer.progress=false", "data.shutter=0.5"])
    data = build_data(config)
    shots = [(0, 10), (10, data.capture.manifest.frames)]
    data.capture.manifest = replace(data.capture.manifest, shots=shots)
    tracked = data.capture.pose(list(range(12)), data.model).full_pose
    torch.testing.assert_close(data.motion(5).pose.full_pose[0], (tracked[6] - tracked[4]) / 2)
    torch.testing.assert_close(data.motion(9).pose.full_pose[0], tracked[9] - tracked[8])
    torch.testing.assert_close(data.motion(10).pose.full_pose[0], tracked[11] - tracked[10])
    (batch,) = data.train_dataloader()
    assert batch.motion is not None and not batch.motion.pose.betas.any()
    torch.testing.assert_close(batch.motion.pose.transl, data.motion(int(batch.signal.frame[0])).pose.transl)


def test_a_frame_that_nobody_filmed_has_its_pose_a_calm_face_and_the_usual_sound():
    """Methods that hear learned with sound in every frame: without any, another avatar is drawn than was fitted."""
    data = build_data(compose([*SMALL, "experiment=thgs_full"]))
    frame = data.capture.test_frames[0]
    filmed, unsaid = data.signal([frame]), data.unsaid(frame)
    assert unsaid.frame.tolist() == [-1] and torch.equal(unsaid.pose.full_pose, filmed.pose.full_pose)
    assert filmed.pose.expression.any() and not unsaid.pose.expression.any()
    assert filmed.audio is not None and unsaid.audio is not None and filmed.audio.shape == unsaid.audio.shape
    torch.testing.assert_close(unsaid.audio[0, 4], data.windows[data.train_frames, 4].mean(0))
    deaf = build_data(compose([*SMALL, "experiment=thgs_full", "method.silence=[audio]"])).unsaid(frame).audio
    assert deaf is not None and torch.equal(deaf, data.quiet.expand_as(deaf)) and not torch.equal(deaf, unsaid.audio)
