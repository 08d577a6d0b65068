"""Ditto's files and the motion that it tells from sound, with small random weights."""

import os

import numpy as np
import pytest
import torch

from talkingavatar.data.portrait.ditto import (
    CHUNK,
    DENOISER,
    FRAME,
    LISTENER,
    DittoDriver,
    _opening,
    _smoothed,
    find_ditto,
)
from talkingavatar.data.portrait.speech_driver import Person
from talkingavatar.errors import UserError
from talkingavatar.networks.ditto import Ditto, Rotary, Sizes, alpha_bars

SIZES = Sizes(frames=24, width=16, inner=16, layers=1, heads=2)


def loudness(chunk):
    """Each step says its own number of the chunk, and how loud it is."""
    assert chunk.shape == (1, CHUNK)
    steps = np.abs(chunk[0, : CHUNK - 80]).reshape(20, -1).mean(1, keepdims=True)
    return steps * np.ones((1, 1024), np.float32)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(4)
    return {key: value + 0.01 * torch.randn_like(value) for key, value in Ditto(SIZES).state_dict().items()}


@pytest.fixture(scope="module")
def person():
    torch.manual_seed(2)
    sizes = {"kp": 63, "scale": 1, "pitch": 66, "yaw": 66, "roll": 66, "t": 3, "exp": 63}
    return Person({name: torch.randn(1, size) for name, size in sizes.items()}, torch.rand(68, 2))


def written(folder, state):
    torch.save({"model_state_dict": state}, folder / DENOISER)
    (folder / LISTENER).touch()
    return find_ditto(str(folder))


@pytest.fixture
def driver(tmp_path, state):
    return DittoDriver(written(tmp_path, state), loudness, SIZES)


def test_the_denoiser_has_the_published_keys():
    with torch.device("meta"):
        network = Ditto(Sizes(heard=1059))  # as the network's own default was counted
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert len(shapes) == 249 and sum(np.prod(shape) for shape in shapes.values()) == 47_768_585
    assert shapes["null_cond_embed"] == (1, 80, 512) and shapes["input_projection.weight"] == (512, 530)
    assert shapes["seqTransDecoder.stack.7.film3.block.1.weight"] == (1024, 512)
    assert shapes["seqTransDecoder.stack.0.rotary.freqs"] == (256,)


def test_a_turned_sequence_knows_how_far_apart_not_where():
    turn, a, b = Rotary(8), *torch.randn(2, 1, 1, 8)
    rows = turn(torch.cat([a, b, a, b], 1).expand(1, 4, 8))[0]
    assert rows[0] @ rows[1] == pytest.approx(float(rows[2] @ rows[3]), abs=1e-5)
    assert torch.allclose(rows.norm(dim=1), torch.cat([a, b, a, b], 1)[0].norm(dim=1), atol=1e-5)


def test_speech_becomes_motion_and_a_seed_the_same(driver, person):
    speech = np.sin(np.arange(25 * FRAME + 9) / 20).astype(np.float32)  # longer than a window
    a, b = (driver(speech, 1, person) for _ in range(2))
    assert a.dyn.shape == (26, 63) and a.pose.shape == (26, 7) and a.dyn.isfinite().all()
    assert torch.equal(a.dyn, b.dyn) and torch.equal(a.pose, b.pose)
    other = driver(speech[: 5 * FRAME], 2, person)
    assert not torch.allclose(a.dyn[:5], other.dyn, atol=1e-3)


def test_each_frame_hears_its_own_sound(driver):
    sound = np.repeat(np.arange(12, dtype=np.float32), FRAME)
    heard = driver._heard(sound, 12)
    assert heard.shape == (12, 1024) and heard[:, 0].tolist() == pytest.approx(list(range(12)), abs=1e-4)


def test_what_is_always_answered_is_believed(driver, person):
    driver.network.final_layer.weight.zero_()
    driver.network.final_layer.bias.zero_()
    driver.network.final_layer.bias[0] = 0.5  # beyond a scale of 1
    driver.network.final_layer.bias[-63:] = 0.25
    found = driver(np.zeros(20 * FRAME, np.float32), 0, person)
    assert torch.allclose(found.dyn, torch.full((20, 63), 0.25), atol=1e-5)
    expected = torch.tensor([np.log(1.5), 0, 0, 0, 0, 0, 0], dtype=torch.float32)
    assert torch.allclose(found.pose, expected.expand(20, 7), atol=1e-4)


def test_small_parts():
    bars = alpha_bars()
    assert len(bars) == 1000 and bars[0] == pytest.approx(1, abs=1e-3) and bars[-1] < 1e-6
    eye = torch.tensor([[0.0, 0], [1, -1], [2, -1], [3, 0], [2, 1], [1, 1]])
    assert float(_opening(eye)) == pytest.approx(2.0)  # three heights of 2 over a width of 3
    motion = torch.arange(4.0)[:, None].repeat(1, 265)
    smooth = _smoothed(motion)
    assert smooth[:, 0].tolist() == pytest.approx([0.5, 1, 2, 2.5]) and torch.equal(smooth[:, 202:], motion[:, 202:])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s.pop("norm_cond.bias"), r"1 keys missing \(norm_cond.bias\)"),
        (lambda s: s.update({"cond_projection.weight": torch.zeros(16, 1059)}), r"cond_projection.weight \(16, 1059\)"),
        (lambda s: s.clear(), "249|keys missing"),
    ],
)
def test_keys_are_strict(tmp_path, state, change, line):
    given = dict(state)
    change(given)
    with pytest.raises(UserError, match=line):
        DittoDriver(written(tmp_path, given), loudness, SIZES)


class Malicious:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (os.mkdir, (str(self.file),))


def test_a_pickle_never_runs(tmp_path):
    files, ran = written(tmp_path, {"x": Malicious(tmp_path / "ran")}), tmp_path / "ran"
    with pytest.raises(UserError, match=r"would run code .posix.mkdir."):
        DittoDriver(files, loudness, SIZES)
    assert not ran.exists()


def test_what_is_not_there_is_named(tmp_path):
    (tmp_path / LISTENER).touch()
    assert find_ditto(str(tmp_path)).why_skipped.startswith(f"no {DENOISER} in {tmp_path}")
