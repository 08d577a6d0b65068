"""Action units between two drivers of a chain: handed on, edited, written, and as the sound comes."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from talkingavatar.audio.features import audio_features
from talkingavatar.body.action_units import NAMES, NamedFace
from talkingavatar.body.lips import LipRuler
from talkingavatar.body.models import load_body
from talkingavatar.data.prompts.ask import Ask, track_of
from talkingavatar.drivers.audio2param.driver import Audio2ParamDriver
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.chain import Chain
from talkingavatar.drivers.diffusion.driver import DiffusionDriver
from talkingavatar.drivers.driver import Heard, Prompt
from talkingavatar.drivers.space import space_of
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.drivers.unit_edit import ALPHA, BETA, UnitEdit
from talkingavatar.engine.performing.editing import foretold
from talkingavatar.networks.audio2param import Audio2Param
from talkingavatar.networks.audio2param import Shape as SpeechShape
from talkingavatar.networks.motion_denoiser import MotionDenoiser
from talkingavatar.networks.motion_denoiser import Shape as FaceShape
from talkingavatar.types import DrivingSignal

FPS, FRAMES, SMILE = 25.0, 60, NAMES.index("AU12")


@pytest.fixture(scope="module")
def head(cache):
    return load_body("open_flame")


@pytest.fixture(scope="module")
def chain(head):
    """Both with weights by chance, so that all they are told matters."""
    torch.manual_seed(0)
    made = []
    for kind, name, targets in ((Audio2ParamDriver, "audio2param", ["units"]), (DiffusionDriver, "diffusion", ["jaw"])):
        space = space_of(head, targets)
        if kind is Audio2ParamDriver:
            network = Audio2Param(SpeechShape(44, 17, width=16, heads=2, encoder_layers=1, past=3))
            torch.nn.init.normal_(network.out.weight)
        else:
            network = MotionDenoiser(FaceShape(44, 3, width=16, heads=2, layers=1, length=24, overlap=4, units=True))
            torch.nn.init.normal_(network.out[1].weight)
        card = DriverCard(
            name, {}, targets, space.names, ["someone"], "logmel", "logits", FPS, head.name, head.checksum
        )
        made.append(kind(network.requires_grad_(False), Standardise(len(space.names)), space, card))
    return Chain(made)


@pytest.fixture(scope="module")
def heard():
    samples = np.random.default_rng(0).normal(0, 0.1, FRAMES * 640).astype(np.float32)
    features = audio_features(samples, 16000, FPS, FRAMES, "logmel", None, "logits")
    return Heard(FPS, samples, torch.from_numpy(np.asarray(features, np.float32)))


def smile():
    return UnitEdit(track_of([Ask(start=1.0, raised={"AU12": 4.5})], FPS, FRAMES))


def happy():
    return UnitEdit(track_of([Ask(start=1.0, raised={"AU12": 4.5}, calmed={"AU26": 1.0})], FPS, FRAMES))


def test_the_face_hears_the_edited_units_and_the_signal_keeps_them(head, chain, heard):
    signal = DrivingSignal(torch.full((FRAMES,), -1), head.zero_pose(FRAMES))
    plain, asked = (chain.foretell(signal, heard, Prompt(edit=edit)) for edit in (None, happy()))
    units, face = chain.drivers
    assert torch.equal(plain.actions, units.sample(heard, Prompt(), 0)[0])
    assert torch.equal(asked.actions, happy().applied(plain.actions))
    assert float(asked.actions[40:, SMILE].min()) == 4.5 and not asked.actions[40:, NAMES.index("AU26")].any()
    alone = face.sample(replace(heard, units=asked.actions), Prompt(), 0)[0]
    assert torch.equal(chain.space.rig.read(asked), alone) and chain.space.read(asked).shape == (FRAMES, 3 + 17)
    assert not torch.equal(chain.space.rig.read(plain), alone)
    assert chain.takes >= {"edit"} and "edit" not in face.takes


def test_a_performance_is_edited_through_the_driver_and_its_lips_still_speak(head, chain, heard):
    signal = DrivingSignal(torch.full((FRAMES,), -1), head.zero_pose(FRAMES))
    small = Chain([chain.drivers[0], copy(chain.drivers[1])])  # a jaw that opens as one does
    small.drivers[1].standard = Standardise(3)
    small.drivers[1].standard.std *= 0.05
    plain, asked = (foretold(small, signal, heard, Prompt(), 0, head, edit) for edit in (None, smile()))
    assert torch.equal(asked.actions, smile().applied(plain.actions))
    face = NamedFace(head)
    smiles = face.read(asked.pose)[:, face.names.index("mouthSmileLeft")]
    assert not smiles[:15].any() and smiles[40:].min() == pytest.approx(0.9, abs=1e-5)
    ruler = LipRuler(head)
    open_still = plain.pose.full_pose[:, head.joint_names.index("jaw"), 0] > 0
    apart = (ruler.of_body(asked.pose) - ruler.of_body(plain.pose))[open_still.numpy()]
    assert float(np.abs(apart).max()) < 1e-3  # metres
    published = foretold(small, signal, heard, Prompt(), 0, head, replace(smile(), rule="published"))
    assert torch.equal(published.actions, replace(smile(), rule="published").applied(plain.actions))
    assert not published.pose.expression.any()  # the driver alone makes it


def test_a_chain_speaks_as_the_sound_comes(chain, heard):
    prompt = Prompt(edit=happy())
    whole = chain.sample(heard, prompt, 0)[0]
    stream = chain.stream(prompt)
    parts = [stream.push(heard.samples[a : a + 4000]) for a in range(0, len(heard.samples), 4000)]
    assert sum(len(part) for part in parts) > 24
    torch.testing.assert_close(torch.cat([*parts, stream.finish(FRAMES)]), whole, atol=1e-4, rtol=1e-4)


def test_both_rules_in_closed_form():
    asks = [Ask(raised={"AU12": 3.0, "AU04L": 4.0}, calmed={"AU26": 0.5})]
    units = torch.full((2, 17), 2.0)
    floor, published = (UnitEdit(track_of(asks, FPS, 2), rule).applied(units)[0] for rule in ("floor", "published"))
    at = {name: NAMES.index(name) for name in ("AU12", "AU04", "AU26", "AU45")}
    assert [float(floor[at[n]]) for n in at] == [3.0, 2.0, 1.0, 2.0]  # the mean of both sides of AU04 is 2
    up, down = 2 * (1 + ALPHA), 2 * (1 - BETA)
    assert [float(published[at[n]]) for n in at] == pytest.approx([up, up, down, down])
    assert torch.equal(UnitEdit(track_of([], FPS, 2), "published").applied(units), units)
