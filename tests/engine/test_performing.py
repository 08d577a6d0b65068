"""Idle motion, lips, borrowed motion, and the clocks of picture and sound."""

from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile
import torch

from talkingavatar.audio.reading import read_sound
from talkingavatar.body.models import load_body
from talkingavatar.data.capture import Manifest, Span
from talkingavatar.data.motion_clips import spans
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.engine.performing.borrowed import carried_over, resampled
from talkingavatar.engine.performing.idle import idle_path
from talkingavatar.engine.performing.performance import Request, open_request
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import axis_angle_to_matrix
from talkingavatar.types import BodyPose

FPS = 25


@pytest.fixture(scope="module")
def body(cache):
    return load_body("open")


def swinging(frames: int, period: int) -> np.ndarray:
    """Joints that swing with a period, and a slow drift."""
    phase = 2 * np.pi * np.arange(frames) / period
    return np.stack([np.cos(phase), np.sin(phase), 1e-4 * np.arange(frames)], 1)[:, None].repeat(3, 1)


def test_idle_motion_passes_between_like_moments_of_one_shot():
    joints = swinging(400, 37)
    path = idle_path(joints, (100, 320), 1000, FPS, seed=0)
    assert path.first.shape == path.second.shape == path.share.shape == (1000,)
    used = np.concatenate([path.first, path.second])
    assert used.min() >= 100 and used.max() < 320
    fading = path.share > 0
    apart = (path.second - path.first)[fading] % 37
    assert fading.any() and np.minimum(apart, 37 - apart).max() <= 1
    motion = (1 - path.share)[:, None] * joints[path.first, 0] + path.share[:, None] * joints[path.second, 0]
    step = np.linalg.norm(np.diff(joints[:, 0], axis=0), axis=1).max()
    assert np.linalg.norm(np.diff(motion, axis=0), axis=1).max() < 1.3 * step


def test_idle_motion_depends_on_the_seed_alone():
    joints = np.random.default_rng(0).normal(size=(300, 4, 3)).cumsum(0)
    a, b, c = (idle_path(joints, (0, 300), 2000, FPS, seed).first for seed in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


@pytest.mark.parametrize("shot", [(7, 8), (7, 9), (7, 30), (7, 107), (7, 108)])
def test_idle_motion_of_short_shots(shot):
    joints = swinging(200, 20)
    path = idle_path(joints, shot, 333, FPS, seed=0)
    used = np.concatenate([path.first, path.second])
    assert len(path.first) == 333 and used.min() >= shot[0] and used.max() < shot[1]
    if shot[1] - shot[0] < 100:  # too short for a passage: to and fro, no faster than it was played
        place = path.first + path.share * (path.second - path.first)
        assert np.abs(np.diff(place)).max() <= 1 and np.ptp(place) == pytest.approx(shot[1] - shot[0] - 1, abs=0.1)


def test_motion_is_resampled_and_runs_back_and_forth():
    path = resampled(10, 31, 30.0, 25.0)
    place = path.first + path.share * (path.second - path.first)
    assert place[:8] == pytest.approx(np.arange(8) * 1.2)
    assert place.min() >= 0 and place.max() <= 9 and np.abs(np.diff(place)).max() == pytest.approx(1.2)
    assert not resampled(1, 5, 30.0, 25.0).first.any()


def test_borrowed_motion_is_seen_as_the_other_camera_saw_it(body):
    """Vertices move rigidly with the cameras; the mean place of the root is the avatar's own."""
    torch.manual_seed(0)
    theirs = replace(body.zero_pose(3), full_pose=0.2 * torch.randn(3, 55, 3), transl=torch.randn(3, 3))
    ours = replace(body.zero_pose(2), transl=torch.tensor([[0.0, 0.2, 3.0], [0.2, 0.2, 3.0]]))
    rigid = torch.eye(4)
    rigid[:3, :3] = axis_angle_to_matrix(torch.tensor([0.0, 2.0, 0.3]))
    moved = carried_over(theirs, ours, body, rigid)
    before, after = body(theirs)[0] @ rigid[:3, :3].T, body(moved)[0]
    shift = after - before
    assert torch.allclose(shift, shift[:1, :1].expand_as(shift), atol=1e-4)
    roots = [body(p)[1][:, 0].mean(0) for p in (moved, ours)]
    assert torch.allclose(roots[0], roots[1], atol=1e-5)
    assert isinstance(moved, BodyPose) and torch.equal(moved.betas, ours.betas[:1].expand(3, -1))


@pytest.mark.parametrize(("fps", "frames"), [(25, 37), (29.97, 91), (23.976, 50), (12.5, 13), (60, 101)])
def test_clicks_stay_where_they_were(tmp_path, fps, frames):
    """A video written with a click track, decoded again: rate, length, and each click to a quarter of a frame."""
    rate = 48_000
    sound = np.zeros(round(frames / fps * rate), np.float32)
    times = [f / fps for f in range(5, frames - 3, 7)]
    for second in times:
        sound[round(second * rate) : round(second * rate) + 96] = 0.8
    with VideoWriter(tmp_path / "clicks.mp4", fps, sound, rate) as video:
        for i in range(frames):
            video.write(np.full((32, 32, 3), 255 * (i % 7 == 5), np.uint8))
    with av.open(str(tmp_path / "clicks.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-4)
        pictures = [(frame.time, frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(stream)]
    assert len(pictures) == frames
    flashes = [time for time, brightness in pictures if brightness > 128]
    heard = read_sound(tmp_path / "clicks.mp4", rate)
    assert abs(len(heard) / rate - frames / fps) < 1 / fps + 0.022  # AAC ends with a whole packet
    for second, flash in zip(times, flashes, strict=False):
        around = slice(round((second - 1.5 / fps) * rate), round((second + 1.5 / fps) * rate))
        peak = around.start + np.abs(heard[around]).argmax()
        assert abs(peak / rate - flash) < 0.25 / fps + 0.002


def test_stretches_avoid_cuts_held_out_and_unusable_frames():
    manifest = Manifest(
        "m", 25.0, 8, 8, 100, [Span(5, 80, 2)], [Span(80, 100)], shots=[(0, 40), (40, 100)], unusable=[20, 21, 40]
    )
    assert spans(manifest, manifest.train) == [(5, 20), (22, 40), (41, 80)]


@pytest.mark.parametrize(("start", "stop"), [(0.0, 0.45), (0.5, 0.5), (3.0, None), (float("nan"), None)])
def test_a_stretch_without_sound_is_refused(start, stop, tmp_path):
    """Not a film of a closed mouth: the sound begins after half a second."""
    soundfile.write(tmp_path / "late.wav", np.concatenate([np.zeros(8000), np.full(8000, 0.5)]), 16_000)
    with pytest.raises(UserError, match=r"^start, stop: "):
        open_request(Request(audio=tmp_path / "late.wav", start=start, stop=stop))
    assert len(open_request(Request(audio=tmp_path / "late.wav", stop=0.75)).sound) == 36_000
