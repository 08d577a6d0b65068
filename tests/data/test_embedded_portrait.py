"""The embedded default of a portrait: drawn, moved, with its sound, and with the truth that only a drawn person has."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from talkingavatar.audio.speech import load_speech
from talkingavatar.config.compose import compose
from talkingavatar.data.capture import Span
from talkingavatar.data.mesh_motion import Take
from talkingavatar.data.portrait.embedded import portrait_capture
from talkingavatar.data.portrait.script import Script, Stretch
from talkingavatar.data.sources import source_of
from talkingavatar.errors import UserError
from talkingavatar.networks.mesh_code import MotionLatent

TAKE = Take("ada", 2.0, 50, 1.0, 1.0, 20.0, 3)


@pytest.fixture(scope="module")
def data(cache):
    return compose(["data=portrait", "data.frames=20", "data.size=96"]).data


@pytest.fixture(scope="module")
def capture(data):
    return source_of(data).open(data, lambda *_: lambda: None)


def test_it_is_a_capture_that_says_what_it_is(data, capture):
    assert portrait_capture(data, lambda *_: pytest.fail("made again")) == capture.folder
    manifest = capture.manifest
    assert manifest.name == source_of(data).title(data) == "portrait-0"
    assert manifest.provenance["kind"] == "distilled" and manifest.provenance["identity"] == 0
    assert capture.confidence(3).shape == (96, 96) and capture.table("motion").values.shape == (20, 39)
    codes = capture.table("motion").values[:, :32]
    assert all(np.abs(codes[capture.train_frames] - codes[frame]).sum(1).min() > 0.1 for frame in capture.test_frames)
    (said,) = manifest.provenance["said"]
    begin = round(said["second"] * 16_000)
    np.testing.assert_allclose(capture.audio, load_speech(said["voice"]).samples[begin : begin + 20 * 640], atol=1e-4)


def test_true_pictures_show_what_the_portrait_shows(capture):
    """Nearer to the frame that they belong to than to another, inside the face."""
    frames = [4, 13]
    true = [picture.astype(float) for picture, _ in capture.view_pictures("true", frames)]
    (x0, y0), (x1, y1) = (edge(capture.landmarks()[4, :, :2], axis=0).astype(int) for edge in (np.min, np.max))
    inside = (slice(y0, y1), slice(x0, x1))
    shown = [capture.frame(frame).astype(float) for frame in frames]
    apart = np.array([[np.abs(a[inside] - b[inside]).mean() for b in shown] for a in true])
    assert (apart.argmin(1) == [0, 1]).all() and apart.diagonal().max() < 10
    pose, truth = capture.pose(frames), capture.true_pose(frames)
    torch.testing.assert_close(pose.transl, truth.transl)
    assert 0 < (pose.expression - truth.expression).abs().mean() < 0.05


def test_what_there_is_not_is_refused(data):
    for field, wrong in {"frames": 6001, "size": 10**6}.items():
        given = replace(data, **{field: wrong})
        with pytest.raises(UserError, match=rf"data\.{field}: found"):
            portrait_capture(given, lambda *_: lambda: None)


def test_whole_stretches_are_held_out():
    motion = MotionLatent(torch.zeros(120, 32), torch.zeros(120, 7))
    script = Script(motion, [Stretch(TAKE, 0, 50), Stretch(TAKE, 10, 40), Stretch(TAKE, 0, 30)])
    assert script.shots == [(0, 50), (50, 90), (90, 120)]
    assert script.split(0.2) == (Span(0, 90), Span(90, 120))
    assert script.split(0.5) == (Span(0, 50), Span(50, 120))
    alone = Script(motion, [Stretch(TAKE, 0, 120)])
    assert alone.split(0.25) == (Span(0, 90), Span(90, 120))
    heard, speech = script.sound(), load_speech("ada").samples
    assert len(heard) == 120 * 640
    np.testing.assert_array_equal(heard[50 * 640 : 90 * 640], speech[32_000 + 6400 : 32_000 + 32_000])
