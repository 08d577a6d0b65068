"""Speech with motion from captures and embedded speakers, and the batches made of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from talkingavatar.audio.features import log_mel
from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.data.capture import Capture, Manifest, Span
from talkingavatar.data.motion_batches import MotionData, Sequences, Variation, reheard, varied
from talkingavatar.data.motion_clips import (
    capture_clip,
    embedded_speakers_fit,
    spans,
    speaker_clip,
    whole_speech,
)
from talkingavatar.data.speaker.record import speaker_capture
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose
from tests.planted_motion import planted_clip

CONFIG = compose(["data.seconds=2", "data.size=64", "body=open_flame"])


@pytest.fixture(scope="module")
def head(cache):
    return load_body("open_flame")


@pytest.fixture(scope="module")
def clips(head):
    return [planted_clip(head, name, 120, seed) for seed, name in enumerate(("first", "second", "third"))]


def equal(a, b):
    """Batches, to the bit."""
    poses = all(torch.equal(getattr(a.pose, f), getattr(b.pose, f)) for f in ("expression", "full_pose", "transl"))
    return poses and torch.equal(a.features, b.features) and torch.equal(a.speaker, b.speaker)


@pytest.mark.parametrize("model", ["smplx", "flame"])
def test_a_speaker_without_pictures_is_the_one_with_pictures(cache, model):
    capture = Capture(speaker_capture(CONFIG.data, lambda title, total: lambda: None))
    drawn = capture_clip(capture, CONFIG.audio, model)
    as_tracked = replace(CONFIG.data, shape_shift=False, face_gains=False)
    heard = speaker_clip(as_tracked, CONFIG.audio, model, 25.0, CONFIG.data.heldout)
    for name in ("pose", "truth"):
        for key in ("betas", "expression", "full_pose", "transl"):
            assert torch.equal(getattr(getattr(drawn, name), key), getattr(getattr(heard, name), key)), key
    assert not torch.equal(heard.pose.expression, heard.truth.expression)
    assert (drawn.train, drawn.test, drawn.shots) == (heard.train, heard.test, heard.shots)
    assert drawn.train == [(0, 40)] and drawn.test == [(40, 50)] and drawn.name == heard.name == "speaker-0"
    assert torch.allclose(drawn.features, heard.features, atol=0.05)  # a file's samples have 16 bits
    assert heard.test_frames == list(range(40, 50)) and heard.frames == 50


@pytest.mark.parametrize("model", ["smplx", "flame"])
def test_a_speakers_jaw_opens_further_than_tracked_with_pictures_or_without(cache, model):
    config = replace(CONFIG.data, seconds=6.0)
    capture = Capture(speaker_capture(config, lambda title, total: lambda: None))
    capture.make_up(load_body("open" if model == "smplx" else "open_flame"), model)
    drawn = capture_clip(capture, CONFIG.audio, model)
    heard = speaker_clip(config, CONFIG.audio, model, 25.0, config.heldout)
    tracked = speaker_clip(replace(config, face_gains=False), CONFIG.audio, model, 25.0, config.heldout)
    jaw = {"smplx": 22, "flame": 2}[model]
    opened = [float(clip.pose.full_pose[:, jaw, 0].std()) for clip in (tracked, drawn, heard)]
    assert opened[1] > 1.3 * opened[0] and opened[2] == pytest.approx(opened[1], rel=0.2)
    assert opened[1] < 1.1 * drawn.truth.full_pose[:, jaw, 0].std()


def test_a_whole_speech_is_trained_on_to_its_end(head):
    data = whole_speech(CONFIG.data, 1, 30000 / 1001)
    assert data.identity == 1 and data.seconds > 100
    clip = speaker_clip(replace(data, seconds=3.0), CONFIG.audio, "flame", 30000 / 1001)
    assert clip.frames == 90 and clip.train == [(0, 90)] and clip.test == [] and clip.fps == 30000 / 1001
    np.testing.assert_array_equal(clip.features.numpy(), log_mel(clip.samples, 30000 / 1001, 90))
    assert embedded_speakers_fit(head, "flame") and not embedded_speakers_fit(head, "smplx")


def test_spans_avoid_cuts_and_unusable_frames_and_know_no_stride():
    manifest = Manifest(
        "m",
        25.0,
        8,
        8,
        100,
        [Span(5, 30, 4), Span(30, 80, 2)],
        [Span(80, 100)],
        shots=[(0, 40), (40, 100)],
        unusable=[20, 21, 40, 99],
    )
    assert spans(manifest, manifest.train) == [(5, 20), (22, 40), (41, 80)]
    assert spans(manifest, manifest.test) == [(80, 99)]


def test_the_step_and_the_seed_decide_the_batch(clips):
    data, same, other = (MotionData(clips, Sequences(4, 20, grain=0.5), seed, 9) for seed in (0, 0, 1))
    batch = data.batch(3)
    assert batch.features.shape == (4, 20, 16, 44) and len(batch.pose) == 80 and batch.speaker.shape == (4,)
    assert equal(batch, same.batch(3))
    assert not equal(batch, data.batch(4)) and not equal(batch, other.batch(3))


def test_sequences_are_neighbouring_frames_of_training_parts(clips):
    data = MotionData(clips, Sequences(16, 30), 0, 9)
    seen = set()
    for step in range(20):
        batch = data.batch(step)
        for number, which in enumerate(batch.speaker.tolist()):
            clip, rows = clips[which], batch.pose[30 * number : 30 * (number + 1)]
            first = int((clip.pose.full_pose[:, 0, 1] == rows.full_pose[0, 0, 1]).nonzero()[0, 0])
            assert torch.equal(rows.expression, clip.pose.expression[first : first + 30])
            assert torch.equal(batch.features[number], clip.features[first : first + 30])
            assert first + 30 <= clip.train[0][1]
            seen.add((which, first))
    assert {which for which, _ in seen} == {0, 1, 2}
    assert min(first for _, first in seen) < 5 and max(first for _, first in seen) > 60


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_sequences_of_a_step(clips, world):
    data = MotionData(clips, Sequences(6, 20, (0.5, 0.25, 0.25), Variation(), 0.3), 5, 9)
    whole = data.batch(2)
    parts = [data.batch(2, rank, world) for rank in range(world)]
    order = [number for rank in range(world) for number in range(rank, 6, world)]
    assert torch.equal(torch.cat([part.features for part in parts]), whole.features[order])
    assert torch.equal(torch.cat([part.speaker for part in parts]), whole.speaker[order])
    poses = BodyPose.cat([part.pose for part in parts])
    assert torch.equal(poses.expression.unflatten(0, (6, 20)), whole.pose.expression.unflatten(0, (6, 20))[order])


def test_the_loader_serves_every_step(clips):
    data = MotionData(clips, Sequences(2, 20), 0, 3)
    assert [equal(batch, data.batch(step)) for step, batch in enumerate(data.train_dataloader())] == [True] * 3


def test_shares_are_kept(clips):
    data = MotionData(clips, Sequences(64, 20, (0.8, 0.2, 0.0)), 0, 9)
    counts = torch.stack([data.batch(step).speaker.bincount(minlength=3) for step in range(20)]).sum(0) / (64 * 20)
    assert counts[2] == 0 and abs(float(counts[0]) - 0.8) < 0.04


def test_sequences_are_as_long_as_the_shortest_clip_allows(head, clips):
    cut = replace(clips[0], train=[(0, 12), (20, 41), (50, 55)])
    data = MotionData([cut, clips[1]], Sequences(8, 75), 0, 9)
    assert data.length == 21 and data.places[0] == [(20, 41)]
    with pytest.raises(UserError, match="first: 7 frames in a row; expected 8"):
        MotionData([replace(cut, train=[(0, 7)])], Sequences(8, 75), 0, 9)


def test_sound_is_heard_again_louder_duller_and_over_noise():
    noise, silence = np.random.default_rng(0).normal(0, 0.1, 32000), log_mel(np.zeros(32000), 25, 50)
    features, louder = (torch.from_numpy(log_mel(noise * gain, 25, 50)) for gain in (1.0, 10 ** (7 / 20)))
    none = torch.zeros(44)
    torch.testing.assert_close(reheard(features, none + 7.0, none), louder, atol=1e-4, rtol=0)
    torch.testing.assert_close(reheard(features, none, none), features, atol=1e-4, rtol=0)
    over = reheard(torch.from_numpy(silence), none, none + 1e-3)
    assert float(over.mean() - silence.mean()) == pytest.approx(np.log(1001) / 3.8, abs=1e-3)


def test_variation_stays_within_its_bounds_and_leaves_half_without_noise():
    silence = torch.from_numpy(log_mel(np.zeros(32000), 25, 50))
    speech = torch.from_numpy(log_mel(np.random.default_rng(0).normal(0, 0.1, 32000), 25, 50))
    most, noisy = (10 + 6) * 0.1 * np.log(10) / 3.8, 0
    for seed in range(40):
        changed = varied(speech, replace(Variation(), noise=0.0), np.random.default_rng(seed)) - speech
        assert 0 < changed.abs().max() < most + 0.01
        noisy += float((varied(silence, Variation(), np.random.default_rng(seed)) - silence).max()) > 1e-3
    assert 10 < noisy < 30 and Variation().scaled(0) == Variation(0.0, 0.0, 0.0)


def test_grain_is_in_the_features_own_deviations(clips):
    plain, grained = (MotionData(clips, Sequences(8, 60, grain=grain), 0, 9).batch(0) for grain in (0.0, 0.5))
    assert torch.equal(plain.pose.expression, grained.pose.expression)
    spread = float(torch.cat([clip.features[: clip.train[0][1]] for clip in clips]).std())
    assert float((grained.features - plain.features).std()) == pytest.approx(0.5 * spread, rel=0.02)
