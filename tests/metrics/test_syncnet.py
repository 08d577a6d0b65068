import hashlib
import json

import numpy as np
import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.metrics.lipsync.scores import SLACK, sync_scores
from talkingavatar.metrics.lipsync.syncnet import (
    LipStream,
    SyncNetScorer,
    as_clip,
    audio_embeddings,
    audio_windows,
    find_syncnet,
    load_syncnet,
    sidecar_of,
)
from talkingavatar.networks.syncnet import SyncNet

# Weights by key as the published file has them; every convolution and linear layer has a bias of its first dimension.
PUBLISHED = {
    "netcnnaud": {0: (64, 1, 3, 3), 4: (192, 64, 3, 3), 8: (384, 192, 3, 3), 11: (256, 384, 3, 3),
                  14: (256, 256, 3, 3), 18: (512, 256, 5, 4)},
    "netcnnlip": {0: (96, 3, 5, 7, 7), 4: (256, 96, 1, 5, 5), 8: (256, 256, 1, 3, 3), 11: (256, 256, 1, 3, 3),
                  14: (256, 256, 1, 3, 3), 18: (512, 256, 1, 6, 6)},
    "netfcaud": {0: (512, 512), 3: (1024, 512)},
    "netfclip": {0: (512, 512), 3: (1024, 512)},
}  # fmt: skip


def published_layout(counts=True):
    """A file's content of random numbers, built from the table above alone."""
    draw = torch.Generator().manual_seed(0)
    state = {}
    for part, layers in PUBLISHED.items():
        for index, shape in layers.items():
            state[f"{part}.{index}.weight"] = 0.02 * torch.randn(shape, generator=draw)
            state[f"{part}.{index}.bias"] = 0.02 * torch.randn(shape[0], generator=draw)
            if (part, index) in (("netfcaud", 3), ("netfclip", 3)):
                continue
            norm = f"{part}.{index + 1}"
            state |= {f"{norm}.weight": torch.ones(shape[0]), f"{norm}.bias": torch.zeros(shape[0])}
            state |= {f"{norm}.running_mean": torch.zeros(shape[0]), f"{norm}.running_var": torch.ones(shape[0])}
            if counts:
                state[f"{norm}.num_batches_tracked"] = torch.tensor(1)
    return state


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(published_layout(), file)
    return file


@pytest.fixture(scope="module")
def scorer(file):
    return SyncNetScorer(find_syncnet(str(file)))


def crops(count, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (count, 224, 224, 3), np.uint8)


def test_a_file_of_the_published_layout_loads_to_the_last_tensor(file):
    loaded = load_syncnet(file).state_dict()
    stored = published_layout()
    assert loaded.keys() == stored.keys()
    for key, value in stored.items():
        assert torch.equal(loaded[key], value), key


def test_a_file_from_before_batches_were_counted_loads(tmp_path):
    torch.save(published_layout(counts=False), tmp_path / "syncnet.model")
    assert load_syncnet(tmp_path / "syncnet.model").netcnnaud[0].bias.std() > 0


def damaged(how):
    state = published_layout()
    if how == "missing":
        del state["netcnnlip.18.bias"]
    elif how == "more":
        state["netcnnlip.21.bias"] = torch.zeros(1)
    elif how == "shape":
        state["netfcaud.3.weight"] = torch.zeros(512, 512)
    return state if how != "list" else [state]


@pytest.mark.parametrize(
    ("how", "message"),
    [("missing", "netcnnlip.18.bias"), ("more", "netcnnlip.21.bias"), ("shape", "netfcaud.3"), ("list", "a list")],
)
def test_another_content_is_refused_in_one_line(tmp_path, how, message):
    torch.save(damaged(how), tmp_path / "a.model")
    with pytest.raises(UserError, match=message) as caught:
        load_syncnet(tmp_path / "a.model")
    assert "\n" not in str(caught.value)


def test_a_truncated_file_and_a_file_of_code_are_refused_in_one_line(tmp_path, file):
    (tmp_path / "half.model").write_bytes(file.read_bytes()[:100_000])
    torch.save(SyncNet(), tmp_path / "pickled.model")
    for name in ("half.model", "pickled.model"):
        with pytest.raises(UserError, match=name) as caught:
            load_syncnet(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_shapes_and_that_shared_windows_equal_windows_of_their_own(scorer):
    network = scorer.network
    assert network.forward_audio(torch.rand(2, 1, 13, 20)).shape == (2, 1024)
    clip = as_clip(crops(7))
    shared = network.forward_clip(clip)[0]
    alone = network.forward_lip(torch.cat([clip[:, :, i : i + 5] for i in range(3)]))
    assert shared.shape == (3, 1024)
    torch.testing.assert_close(shared, alone, rtol=1e-3, atol=1e-4)


def test_pictures_are_turned_to_bgr_and_kept_at_255():
    picture = crops(1)
    assert torch.equal(as_clip(picture)[0, 0, 0], torch.from_numpy(picture[0, :, :, 2]).float())


@pytest.mark.parametrize("count", [30, 24, 25, 6, 5, 3])
def test_streaming_equals_the_whole_and_leaves_out_the_last_window(scorer, count):
    stream, pictures = scorer.lip_stream(), crops(count)
    held = 0
    for picture in pictures:
        stream.add(picture)
        held = max(held, len(stream.waiting))
    embedded = stream.finish()
    assert embedded.shape == (max(0, count - 5), 1024) and held < 24
    if count > 5:
        whole = scorer.network.forward_clip(as_clip(pictures))[0, :-1]
        torch.testing.assert_close(embedded, whole, rtol=1e-3, atol=1e-4)


def test_sound_has_the_positions_of_a_video_of_its_length(scorer):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 30 * 640 + 639).astype(np.float32)
    embedded = scorer.audio_embeddings(samples)
    assert embedded.shape == (25, 1024)
    # A frame later in the sound is a position later, but for the pre-emphasis of the very first sample.
    later = scorer.audio_embeddings(samples[640:])
    torch.testing.assert_close(embedded[2:25], later[1:24], rtol=1e-3, atol=1e-4)
    assert scorer.audio_embeddings(samples[: 5 * 640]).shape == (0, 1024)


def test_audio_windows_are_twenty_columns_from_four_times_the_position():
    columns = torch.arange(100.0)[:, None] + torch.arange(13) / 100
    windows = audio_windows(columns, torch.tensor([0, 7]))
    assert windows.shape == (2, 1, 13, 20)
    torch.testing.assert_close(windows[1, 0, 5], torch.arange(28.0, 48.0) + 0.05)


def test_the_towers_are_told_apart():
    """The lips' stream uses the lips' tower: another state of the sound's tower leaves it alone, and the reverse."""
    torch.manual_seed(0)
    network = SyncNet().eval()
    stream = LipStream(network)
    for picture in crops(6):
        stream.add(picture)
    before, sound = stream.finish(), np.random.default_rng(0).uniform(-1, 1, 6400).astype(np.float32)
    heard = audio_embeddings(network, sound)
    with torch.no_grad():
        network.netfcaud[3].bias += 1
    stream = LipStream(network)
    for picture in crops(6):
        stream.add(picture)
    torch.testing.assert_close(stream.finish(), before)
    torch.testing.assert_close(audio_embeddings(network, sound), heard + 1)


# -- finding and provenance --------------------------------------------------------------------------------------------


def test_places_and_their_order(tmp_path, monkeypatch):
    weights, cache = tmp_path / "weights", tmp_path / "cache"
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(weights))
    monkeypatch.setenv("TALKINGAVATAR_CACHE", str(cache))
    absent = find_syncnet()
    assert absent.path is None and str(weights) in absent.why_skipped and str(cache) in absent.why_skipped
    for folder, name in (
        (cache / "weights", "syncnet.model"),
        (weights, "syncnet.model"),
        (weights, "syncnet_v2.model"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
        assert find_syncnet().path == folder / name
    assert find_syncnet(str(tmp_path)).path is None
    assert find_syncnet(str(cache / "weights")).path == cache / "weights" / "syncnet.model"
    assert find_syncnet(str(cache / "weights" / "syncnet.model")).path == cache / "weights" / "syncnet.model"


def test_the_origin_is_told_by_the_sidecar_or_not_known(tmp_path):
    file = tmp_path / "syncnet.model"
    file.write_bytes(b"some bytes")
    digest = hashlib.sha256(b"some bytes").hexdigest()
    assert find_syncnet(str(file)).provenance()["origin"].startswith("not known")
    sidecar_of(file).write_text(json.dumps({"sha256": digest, "seed": 3}))
    told = find_syncnet(str(file)).provenance()
    assert told["sha256"] == digest and told["training"]["seed"] == 3 and "trained" in told["origin"]
    for content in (json.dumps({"sha256": "of another"}), "[", "[]"):
        sidecar_of(file).write_text(content)
        told = find_syncnet(str(file)).provenance()
        assert told["origin"].startswith("not known") and "training" not in told


# -- scores ------------------------------------------------------------------------------------------------------------


def embeddings(count=200, seed=0):
    return 3 * torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))


def delayed(stream, frames):
    """The stream `frames` later; what comes before its start is of no likeness."""
    other = embeddings(len(stream), seed=9)
    moved = stream.roll(frames, 0)
    if frames > 0:
        moved[:frames] = other[:frames]
    elif frames < 0:
        moved[frames:] = other[frames:]
    return moved


@pytest.mark.parametrize("frames", range(-15, 16))
def test_sound_that_lags_by_k_frames_gives_minus_k(frames):
    lip = embeddings()
    scores = sync_scores(lip, delayed(lip, frames))
    assert scores.ao == -frames
    assert len(scores.curve) == 31 and scores.md == min(scores.curve) and scores.conf > 3


def test_planted_distances():
    """Sound that is apart from the lips by exactly j / 10 at each inner shift: every figure follows by hand."""
    count = 400
    audio = torch.zeros(count, 2)
    audio[:, 0] = torch.arange(count) / 10
    lip = audio.clone()
    lip[:, 1] = 0.5
    scores = sync_scores(lip, audio, reach=2)
    expected = [(0.25 + (j - 2) ** 2 / 100) ** 0.5 for j in range(5)]
    inner = sync_scores(lip[50:350], audio[50:350], reach=2)
    # The zero vectors beyond the ends are 5 and 35 away; none are seen at shift 0.
    assert scores.ao == inner.ao == 0
    assert scores.md == inner.md == pytest.approx(0.5, abs=1e-5)
    start, end = (0.25 + 5.0**2) ** 0.5, (0.25 + 34.9**2) ** 0.5
    assert inner.curve[1] == pytest.approx((299 * expected[1] + start) / 300, abs=1e-4)
    assert inner.curve[3] == pytest.approx((299 * expected[3] + end) / 300, abs=1e-4)
    assert inner.conf == pytest.approx(sorted(inner.curve)[2] - 0.5, abs=1e-5)
    assert len(inner.margins) == 300 and float(inner.margins.mean()) == pytest.approx(inner.conf, abs=1e-4)
    assert float(inner.distances.mean()) == pytest.approx(inner.md, abs=1e-5)


def test_equal_streams_are_the_epsilon_apart():
    lip = embeddings()
    assert sync_scores(lip, lip.clone()).md == pytest.approx(1e-6 * 16**0.5, rel=1e-3)


def test_lengths_that_differ_by_rounding_are_cut_and_others_refused():
    lip = embeddings()
    assert sync_scores(lip, lip[:-SLACK]) == sync_scores(lip[:-SLACK], lip)
    for a, b in ((lip, lip[: -SLACK - 1]), (lip[: -SLACK - 1], lip)):
        with pytest.raises(UserError, match="equal lengths"):
            sync_scores(a, b)
    with pytest.raises(UserError, match="longer clip"):
        sync_scores(lip[:0], lip[:1])
