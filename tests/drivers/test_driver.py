"""What all drivers share: prompts, chains, what they write into a signal, and what names select."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from talkingavatar.body import action_units
from talkingavatar.body.models import load_body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.data.prompts.ask import track_of
from talkingavatar.drivers import driver_class
from talkingavatar.drivers.audio2param.driver import Audio2ParamDriver
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.chain import Chain
from talkingavatar.drivers.driver import Driver, Heard, Prompt
from talkingavatar.drivers.ridge import RidgeMouth
from talkingavatar.drivers.space import RigParameters, SignalField
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.drivers.unit_edit import UnitEdit
from talkingavatar.errors import UserError
from talkingavatar.types import DrivingSignal
from tests.planted_motion import planted_clip

NAMES = list(action_units.NAMES)
JAW = NAMES.index("AU26") - len(NAMES)  # counted from the end


@pytest.fixture(scope="module")
def head(cache):
    return load_body("open_flame")


def card(name, names):
    return DriverCard(name, {}, [], names, ["someone"], "logmel", "logits", 25.0, "open_flame", "0" * 64)


class Speech(Driver):
    """Draws actions about as strong as the sound's features are."""

    space, card, lookahead, draws = SignalField("actions", NAMES), card("speech", NAMES), 0.1, True
    takes = frozenset({"steps"})

    def sample(self, heard, prompt, seed, count=1):
        assert prompt.speaker is None
        loud = heard.features.abs().mean((1, 2))[:, None].expand(-1, 17)
        return torch.stack([loud + torch.manual_seed(seed + k).initial_seed() for k in range(count)])


class Face(Driver):
    """Opens the jaw by its action."""

    takes = frozenset({"speaker"})

    def __init__(self, head):
        self.space, self.lookahead = RigParameters(head, ["jaw"]), 0.2
        self.card = card("face", self.space.names)

    def sample(self, heard, prompt, seed, count=1):
        assert prompt.steps is None
        return torch.nn.functional.pad(heard.motion[:, JAW : JAW + 1], (0, 2)).expand(count, -1, -1)


@pytest.fixture
def heard():
    return Heard(25.0, np.zeros(16000, np.float32), torch.randn(25, 16, 44))


def signal(head, frames=25):
    return DrivingSignal(torch.full((frames,), -1), head.zero_pose(frames))


def test_a_chain_hands_on_what_is_foretold_and_each_takes_its_part_of_the_prompt(head, heard):
    chain = Chain([Speech(), Face(head)])
    assert chain.lookahead == pytest.approx(0.3) and chain.draws
    assert chain.space.names == [*Face(head).space.names, *NAMES] and len(chain.scale) == 20
    spoken = chain.foretell(signal(head), heard, Prompt(speaker="someone", steps=3), seed=3)
    jaw = spoken.pose.full_pose[:, head.joint_names.index("jaw")]
    torch.testing.assert_close(jaw[:, 0], heard.features.abs().mean((1, 2)) + 3)
    assert not jaw[:, 1:].any()
    torch.testing.assert_close(spoken.actions[:, JAW], jaw[:, 0])  # what the face was prompted with
    torch.testing.assert_close(chain.sample(heard, Prompt(), 5, 3)[2], chain.sample(heard, Prompt(), 7)[0])
    with pytest.raises(UserError, match=r"guidance: found .*face takes speaker, steps"):
        chain.foretell(signal(head), heard, Prompt(guidance={"audio": 2.0}))


class Eyes(Face):
    """Draws where the eyes look."""

    def __init__(self, head):
        super().__init__(head)
        self.space = RigParameters(head, ["eyes"])

    def sample(self, heard, prompt, seed, count=1):
        return torch.full((count, heard.frames, len(self.space.names)), float(seed))


def test_drivers_of_other_parts_of_a_pose_speak_together(head, heard):
    """Whichever comes last; what each foretells is written where it belongs."""
    face, eyes = Face(head), Eyes(head)
    heard = replace(heard, motion=torch.rand(25, 2))
    for chain in (Chain([face, eyes]), Chain([eyes, face])):
        spoken = chain.foretell(signal(head), heard, seed=4)
        assert chain.space.names == RigParameters(head, ["jaw", "eyes"]).names and len(chain.scale) == len(
            chain.space.names
        )
        assert (eyes.space.read(spoken) == 4).all() and face.space.read(spoken).any()
    alone = Chain([Face(head), Face(head)])
    assert alone.space.names == face.space.names and len(alone.scale) == len(face.space.names)


def test_a_field_of_the_signal_is_a_space_too(head, heard):
    foretold = Speech().foretell(signal(head), heard)
    assert foretold.actions.shape == (25, 17) and torch.equal(Speech.space.read(foretold), foretold.actions)
    assert torch.equal(foretold.pose.full_pose, signal(head).pose.full_pose)


def test_some_frames_of_what_is_heard(head, heard):
    whole = Speech().foretell(signal(head), heard)
    some = Speech().foretell(signal(head, 2), replace(heard, wanted=[3, 20]))
    assert torch.equal(some.actions, whole.actions[[3, 20]])


@pytest.mark.parametrize(
    "prompt", [Prompt(speaker="x"), Prompt(edit=UnitEdit(track_of([], 25.0, 25))), Prompt(steps=5)]
)
def test_what_a_driver_lacks_is_refused(head, heard, prompt):
    clip = planted_clip(head)
    ridge = RidgeMouth.fitted(Heard(clip.fps, clip.samples, clip.features), clip.pose, clip.train, head, clip.name)
    with pytest.raises(UserError, match=f"{prompt.given()[0]}: found .*ridge takes no prompt"):
        ridge.foretell(signal(head), heard, prompt)
    assert ridge.stream(Prompt()) is None and not ridge.draws


def test_the_closed_form_mouth_is_kept(head, tmp_path, capsys):
    clip = planted_clip(head)
    heard = Heard(clip.fps, clip.samples, clip.features, clip.shots)
    given = (heard, clip.pose, clip.train, head, clip.name)
    first, again = RidgeMouth.fitted(*given, tmp_path), RidgeMouth.fitted(*given, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:500])
    mended = RidgeMouth.fitted(*given, tmp_path)
    assert f"warning: {file}: no readable file" in (told := capsys.readouterr().err) and "is made anew" in told
    assert len(file.read_bytes()) == len(whole)
    frames = DrivingSignal(torch.arange(clip.frames), clip.pose)
    for other in (again, mended):
        assert torch.equal(other.foretell(frames, heard).pose.full_pose, first.foretell(frames, heard).pose.full_pose)
    parts = PoseParts(head, ("jaw", "mouth"))
    values = first.model.predict(clip.samples, clip.fps, clip.frames)
    assert np.array_equal(parts.read(first.foretell(frames, heard).pose).numpy(), values.astype(np.float32))
    assert first.report().keys() == set(parts.names)


def test_names_select():
    assert driver_class("audio2param") is Audio2ParamDriver and driver_class("ridge") is RidgeMouth
    with pytest.raises(UserError, match=r"driver\.name: found 'audio2parm'.*did you mean audio2param"):
        driver_class("audio2parm")


def test_standard_values_and_back():
    standard = Standardise(3)
    standard.mean, standard.std = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 2.0, 4.0])
    standard.gain = torch.tensor([1.0, 0.0, 2.0])
    values = torch.randn(5, 3)
    torch.testing.assert_close(standard.back(standard(values)), values)
    torch.testing.assert_close(standard.raised(torch.ones(1, 3)), torch.tensor([[1.5, 2.0, 11.0]]))
    other = Standardise(3)
    other.load_state_dict(standard.state_dict())
    assert torch.equal(other(values), standard(values))


@pytest.mark.parametrize(
    "change",
    [{"fps": -1}, {"fps": None}, {"fps": float("nan")}, {"names": None}, {"names": [3]}, {"shape": []}, {"driver": []},
     {"targets": {}}, {"body": None}, {"more": 3}],
)  # fmt: skip
def test_a_card_that_is_damaged_is_not_believed(change):
    whole = asdict(card("speech", NAMES))
    assert DriverCard.of({"driver": whole}) == card("speech", NAMES)
    with pytest.raises((TypeError, ValueError)):
        DriverCard.of({"driver": whole | change})
