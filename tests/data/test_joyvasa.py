"""JoyVASA's files and the motion that it tells from sound, with small random weights."""

import os
import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from talkingavatar.data.portrait.joyvasa import GENERATOR, TEMPLATE, JoyVasaDriver, find_joyvasa
from talkingavatar.data.portrait.speech_driver import Person
from talkingavatar.errors import UserError
from talkingavatar.networks.joyvasa import Denoiser, JoyVasa, Schedule, Sizes, sinusoids

NOBODY = Person({}, torch.zeros(68, 2))
SIZES = Sizes(frames=5, before=2, width=16, heard=16, steps=4, layers=1)
ARGUMENTS = {"motion_feat_dim": 70, "n_motions": 5, "n_prev_motions": 2, "feature_dim": 16, "n_diff_steps": 4,
             "data_root": Path("data"), "pad_mode": "zero"}  # fmt: skip


@pytest.fixture(scope="module")
def small():
    from transformers import HubertConfig

    return HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8,) * 7,
        num_conv_pos_embedding_groups=2, num_conv_pos_embeddings=4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(small):
    from transformers import HubertModel

    torch.manual_seed(5)
    listener = HubertModel(small).state_dict()
    for part, name in enumerate(("weight_g", "weight_v")):  # as torch named them when these were saved
        listener[f"encoder.pos_conv_embed.conv.{name}"] = listener.pop(
            f"encoder.pos_conv_embed.conv.parametrizations.weight.original{part}"
        )
    state = JoyVasa(SIZES).state_dict() | {f"audio_encoder.{key}": value for key, value in listener.items()}
    return state | {"denoising_net.TE.pe": torch.zeros(1, 501, 16)}  # of another length


def template(**other):
    given = {"mean_exp": np.full(63, 0.5), "std_exp": np.full(63, 2.0)}
    for name, (low, high) in {"scale": (1, 2), "pitch": (-90, 90), "yaw": (-45, 45), "roll": (-9, 9)}.items():
        given |= {f"min_{name}": np.array([low], float), f"max_{name}": np.array([high], float)}
    return given | {"min_t": np.zeros(3), "max_t": np.array([1.0, 2.0, 3.0])} | other


def written(folder, model, arguments=ARGUMENTS, statistics=None):
    torch.save({"args": Namespace(**arguments), "model": model}, folder / GENERATOR)
    (folder / TEMPLATE).write_bytes(pickle.dumps(statistics or template()))
    return find_joyvasa(str(folder))


@pytest.fixture
def driver(tmp_path, model, small):
    return JoyVasaDriver(written(tmp_path, model), small)


def test_the_denoiser_has_the_published_keys():
    with torch.device("meta"):
        state = Denoiser(Sizes()).state_dict()
    assert (len(state), sum(value.numel() for value in state.values())) == (157, 34_919_050)
    assert tuple(state["transformer.layers.7.multihead_attn.in_proj_weight"].shape) == (1536, 512)
    assert tuple(state["motion_dec.2.weight"].shape) == (70, 256)


def test_a_schedule_ends_in_noise_and_begins_without():
    plan = Schedule(500)
    assert plan.alpha_bars[0] == 1 and plan.alpha_bars[-1] < 1e-4 and (plan.alpha_bars.diff() < 0).all()
    assert plan.sigmas_inflex[1] == 0 and (plan.sigmas_inflex <= plan.betas.sqrt() + 1e-6).all()
    half = np.cos((0.5 + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert plan.alpha_bars[250] == pytest.approx(half, rel=1e-4)
    assert torch.allclose(sinusoids(3, 4)[2], torch.tensor([np.sin(2), np.cos(2), np.sin(0.02), np.cos(0.02)]).float())


def test_speech_becomes_motion_and_a_seed_the_same(driver):
    speech = np.sin(np.arange(8 * 640 + 100) / 20).astype(np.float32)
    a, b, other = (driver(speech, seed, NOBODY) for seed in (1, 1, 2))
    assert a.dyn.shape == (8, 63) and a.pose.shape == (8, 7) and a.dyn.isfinite().all()
    assert torch.equal(a.dyn, b.dyn) and torch.equal(a.pose, b.pose) and not torch.equal(a.dyn, other.dyn)


def test_sound_is_heard(driver):
    tones = [np.sin(np.arange(5 * 640) / length).astype(np.float32) for length in (3, 30)]
    a, b = (driver(tone, 1, NOBODY).dyn for tone in tones)
    assert not torch.allclose(a, b)


def test_numbers_mean_what_the_statistics_say(driver):
    """A network that always gives the same answer is believed in the end, whatever was drawn."""
    last = driver.network.denoising_net.motion_dec[-1]
    last.weight.zero_()
    last.bias.fill_(0.5)
    found = driver(np.zeros(3 * 640, np.float32), 0, NOBODY)
    assert torch.allclose(found.dyn, torch.full((3, 63), 1.5), atol=1e-4)
    expected = torch.tensor([np.log(1.5), 0, 0, 0, 0.5, 1.0, 1.5], dtype=torch.float32)
    assert torch.allclose(found.pose, expected.expand(3, 7), atol=1e-4)


def test_a_frame_hears_its_own_sound_only(model):
    network = Denoiser(SIZES).eval().requires_grad_(False)
    motion, heard = torch.randn(1, 7, 70), torch.randn(1, 7, 16)
    for layer in network.transformer.layers:
        layer.self_attn.out_proj.weight.zero_()
    changed = heard.clone()
    changed[:, 3] += 1
    moved = (network(motion, changed, 2) - network(motion, heard, 2)).abs().amax((0, 2))
    assert moved[3] > 0 and (moved[[0, 1, 2, 4, 5, 6]] == 0).all()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda m: m.pop("null_audio_feat"), r"1 keys missing \(null_audio_feat\)"),
        (lambda m: m.update({"denoising_net.x": torch.zeros(1)}), r"too many \(denoising_net.x\)"),
        (lambda m: m.update(start_motion_feat=torch.zeros(1, 2, 76)), r"start_motion_feat \(1, 2, 76\)"),
        (lambda m: m.pop("audio_encoder.masked_spec_embed"), r"missing \(masked_spec_embed\)"),
        (lambda m: [m.pop(key) for key in list(m) if key.startswith("audio_encoder")], r"no audio_encoder"),
    ],
)
def test_keys_are_strict_but_for_two(tmp_path, model, small, change, line):
    given = dict(model)
    change(given)
    with pytest.raises(UserError, match=line) as error:
        JoyVasaDriver(written(tmp_path, given), small)
    assert GENERATOR in str(error.value) and "\n" not in str(error.value)


def test_arguments_and_statistics_are_looked_at(tmp_path, model, small):
    with pytest.raises(UserError, match=r"args.n_motions: found 'many'; expected a whole number"):
        JoyVasaDriver(written(tmp_path, model, ARGUMENTS | {"n_motions": "many"}), small)
    with pytest.raises(UserError, match=r"mean_exp: found float64 \(3,\); expected 63 numbers"):
        JoyVasaDriver(written(tmp_path, model, statistics=template(mean_exp=np.zeros(3))), small)
    with pytest.raises(UserError, match="max_yaw: found nothing"):
        JoyVasaDriver(written(tmp_path, model, statistics=template(max_yaw=None)), small)


class Malicious:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (os.mkdir, (str(self.file),))


def test_neither_pickle_runs(tmp_path, model, small):
    ran = tmp_path / "ran"
    files = written(tmp_path, model, statistics=template(mean_exp=Malicious(ran)))
    with pytest.raises(UserError, match=r"it names posix.mkdir"):
        JoyVasaDriver(files, small)
    files = written(tmp_path, model, ARGUMENTS | {"n_motions": Malicious(ran)})
    with pytest.raises(UserError, match=r"would run code .posix.mkdir."):
        JoyVasaDriver(files, small)
    assert not ran.exists()


def test_what_is_not_there_is_named(tmp_path):
    (tmp_path / TEMPLATE).touch()
    files = find_joyvasa(str(tmp_path))
    assert not files.found and files.why_skipped.startswith(f"no {GENERATOR} in {tmp_path}")
