from dataclasses import replace

import numpy as np
import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.data.capture import RATE
from talkingavatar.data.sync_batches import MIDDLE, Shape, SyncData
from talkingavatar.data.sync_clips import SyncClip, face_boxes, sync_clip
from talkingavatar.data.sync_variation import Variation
from talkingavatar.engine.build import build_data
from talkingavatar.errors import UserError
from talkingavatar.losses.contrast import ELSEWHERE
from talkingavatar.metrics.lipsync.crop import crop_track
from talkingavatar.metrics.lipsync.mfcc import mfcc

AS_RECORDED = Variation().scaled(0)


def clip(name="a", frames=60, train=((0, 40),), test=((40, 60),), seed=0):
    """Each frame is grey of its own number, so that a window tells which frames it holds."""
    crops = np.broadcast_to(np.arange(frames, dtype=np.uint8)[:, None, None, None], (frames, 224, 224, 3))
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, frames * 640)
    mouth = np.arange(frames)[:, None] + np.arange(4) / 10
    return SyncClip(name, crops, samples, mouth, list(train), list(test))


def test_windows_of_lips_and_sound_are_of_the_same_frames():
    clips = [clip("a"), clip("b", seed=1)]
    data = SyncData(clips, Shape(2, 3, 10, variation=AS_RECORDED), seed=0, steps=5)
    heard = [torch.from_numpy(mfcc(c.samples)).float() for c in clips]
    for step in range(5):
        batch = data.batch(step)
        assert batch.lips.shape == (6, 3, 5, 107, 107) and batch.audio.shape == (6, 1, 13, 20)
        starts = batch.lips[:, 0, 0, 0, 0].round().int()
        assert torch.equal(batch.lips[:, 0, :, 0, 0].round().int(), starts[:, None] + torch.arange(5))
        for start, window in zip(starts, batch.audio, strict=True):
            inside = slice(4 * start + 1, 4 * start + 20)  # the first sample of a cut has no pre-emphasis
            gaps = [(columns[inside].T - window[0, :, 1:]).abs().max() for columns in heard]
            assert min(gaps) < 1e-3
        expected = starts[:, None, None] + torch.arange(5)[:, None] + torch.arange(4) / 10
        torch.testing.assert_close(batch.mouth, expected.flatten(1), rtol=0, atol=1e-4)
        same = batch.apart != ELSEWHERE
        assert torch.equal(same, torch.block_diag(torch.ones(3, 3), torch.ones(3, 3)).bool())
        assert torch.equal(batch.apart[same], (starts[:, None] - starts)[same])
        assert batch.apart[same].abs().max() < 10


def test_places_of_one_clip_know_how_far_they_are_apart():
    data = SyncData([clip()], Shape(3, 2, 6, variation=AS_RECORDED), seed=0, steps=1)
    starts = data.batch(0).lips[:, 0, 0, 0, 0].round().int()
    assert torch.equal(data.batch(0).apart, starts[:, None] - starts) and data.batch(0).apart.abs().max() > 6


def test_a_step_sees_few_clips_with_several_places_of_each():
    clips = [clip(str(seed), seed=seed) for seed in range(7)]
    data = SyncData(clips, Shape(6, 1, 10, clips=2, variation=AS_RECORDED), seed=0, steps=9)
    for step in range(9):
        assert (data.batch(step).apart != ELSEWHERE).sum(1).tolist() == [3] * 6


def test_a_batch_is_a_function_of_seed_and_step_and_stays_in_the_training_part():
    def lips(seed, step):
        return SyncData([clip()], Shape(2, 4, 12), seed, steps=100).batch(step).lips

    assert torch.equal(lips(0, 7), lips(0, 7))
    assert not torch.equal(lips(0, 7), lips(0, 8)) and not torch.equal(lips(0, 7), lips(1, 7))
    data = SyncData([clip(train=[(10, 30)])], Shape(2, 4, 12, variation=AS_RECORDED), 0, steps=100)
    shown = torch.cat([data.batch(step).lips.flatten() for step in range(0, 60, 6)]).round()
    assert shown.min() >= 10 and shown.max() < 30


def test_the_loader_goes_on_where_it_stopped():
    data = SyncData([clip()], Shape(1, 2, 4), 0, steps=4)
    whole = [batch.apart for batch in data.train_dataloader()]
    loader = data.train_dataloader()
    loader.load_state_dict({"next_step": 2})
    assert all(torch.equal(a, b.apart) for a, b in zip(whole[2:], loader, strict=True))


def test_what_is_seen_is_the_middle_of_the_crops():
    """A ramp over the columns, mirrored or not."""
    ramp = clip()
    ramp = replace(ramp, crops=np.broadcast_to(np.arange(224, dtype=np.uint8)[:, None], (60, 224, 224, 3)))
    lips = SyncData([ramp], Shape(3, 2, 4, variation=AS_RECORDED), 0, steps=2).batch(0).lips
    columns = torch.arange(*MIDDLE).float()
    for window in lips[::2]:
        row = window[0, 0, 5]
        assert min((row - columns).abs().max(), (row - (223 - columns)).abs().max()) < 0.01


def test_windows_of_a_place_are_shifted_negatives():
    """Distinct, within reach of each other, of any distance up to it, and of the same face and speech."""
    data = SyncData([clip()], Shape(2, 2, 4, variation=AS_RECORDED), seed=0, steps=30)
    between = [int(data.batch(step).apart[i, i + 1].abs()) for step in range(30) for i in (0, 2)]
    assert set(between) == {1, 2, 3}


def test_variation_grows_over_the_first_steps():
    """The same draws change more: none at first, all from the step it is eased until."""
    still = clip()
    picture = np.random.default_rng(0).integers(0, 255, (1, 224, 224, 3), np.uint8)
    still = replace(still, crops=np.broadcast_to(picture, (60, 224, 224, 3)), samples=np.zeros(60 * 640))

    def batch(step, **shape):
        return SyncData([still], Shape(2, 2, 6, **shape), 0, steps=10).batch(step)

    as_recorded = batch(0, variation=AS_RECORDED)
    assert torch.equal(batch(0, eased=4).lips, as_recorded.lips)
    assert torch.equal(batch(0, eased=4).audio, as_recorded.audio)
    assert torch.equal(batch(4, eased=4).lips, batch(4).lips)
    assert torch.equal(batch(2, eased=4).lips, batch(2, variation=Variation().scaled(0.5)).lips)
    assert not torch.equal(batch(3, eased=4).lips, batch(3).lips)


def test_held_out_windows_are_those_of_the_test_part():
    batch = SyncData([clip(), clip("b", test=[(41, 44)])], Shape(1, 2, 4), 0, 1).heldout(4)
    assert batch is not None
    starts = batch.lips[:, 0, 0, 0, 0].int().tolist()
    assert starts == [40, 44, 49, 54]
    assert SyncData([clip(test=[])], Shape(1, 2, 4), 0, 1).heldout() is None


def test_a_clip_that_is_never_seen_is_held_out_whole():
    unseen = clip(train=[(0, 12), (14, 40)], test=[(40, 55), (56, 60)]).unseen()
    assert unseen.train == [] and unseen.test == [(0, 12), (14, 55), (56, 60)]


def test_a_clip_without_a_training_part_is_named():
    with pytest.raises(UserError, match="short"):
        SyncData([clip(), clip("short", train=[(0, 8)])], Shape(1, 6, 10), 0, 1)


@pytest.fixture(scope="module")
def capture():
    return build_data(compose(["data.seconds=2", "data.size=64", "tracking=none", "trainer.progress=false"])).capture


def test_crops_of_a_capture_are_cut_once_and_as_published(capture):
    made = []
    first = sync_clip(capture, lambda total: lambda: made.append(total))
    assert len(made) in (0, 50)  # another test may have made them
    again = sync_clip(capture, lambda total: pytest.fail("cut twice"))
    track = crop_track(face_boxes(capture))
    for i in (0, 49):
        np.testing.assert_array_equal(again.crops[i], track.crop(capture.frame(i), i))
    np.testing.assert_array_equal(first.crops, again.crops)
    assert again.train == [(0, 40)] and again.test == [(40, 50)]
    assert len(again.sound(3, 7)) == 4 * RATE // 25


def test_damaged_crops_are_cut_again(capture, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TALKINGAVATAR_CACHE", str(tmp_path))
    first = sync_clip(capture, lambda total: lambda: None).crops
    (kept,) = (tmp_path / "lipsync").iterdir()
    for damaged in (kept.read_bytes()[:-1], b"", bytes(range(200))):
        kept.unlink()  # `first` is mapped from it
        kept.write_bytes(damaged)
        assert np.array_equal(sync_clip(capture, lambda total: lambda: None).crops, first)
        assert "made anew" in capsys.readouterr().err


def test_the_mouth_s_shape_follows_the_true_lips_and_not_the_head():
    """How far the tracked lips part goes with the true parting, though the tracker's are noisy and the head moves."""
    capture = build_data(compose(["data.seconds=4", "data.size=64", "trainer.progress=false"])).capture
    shape = sync_clip(capture, lambda total: lambda: None).mouth
    points = capture.landmarks(truth=True)
    assert points is not None and shape.shape == (100, 4) and np.isfinite(shape).all()
    for column, (upper, lower) in ((0, (62, 66)), (1, (51, 57))):
        parted = np.linalg.norm(points[:, upper, :2] - points[:, lower, :2], axis=-1)
        assert np.corrcoef(shape[:, column], parted)[0, 1] > 0.6
    assert np.abs(np.median(shape, 0)).max() < 1e-6 and (np.abs(shape) <= 4).all()


def test_spans_end_at_cuts_and_unusable_frames(capture, tmp_path):
    import json
    import shutil

    from talkingavatar.data.capture import Capture

    folder = tmp_path / "cut"
    shutil.copytree(capture.folder, folder)
    manifest = json.loads((folder / "capture.json").read_text())
    manifest |= {"shots": [[0, 12], [12, 50]], "unusable": [20, 45]}
    (folder / "capture.json").write_text(json.dumps(manifest))
    clip = sync_clip(Capture(folder), lambda total: lambda: None)
    assert clip.train == [(0, 12), (12, 20), (21, 40)] and clip.test == [(40, 45), (46, 50)]
