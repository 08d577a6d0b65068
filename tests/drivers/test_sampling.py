"""A driver of another package that draws: trained by `fit`, its samples filmed by `drive`."""

from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.config.compose import compose
from talkingavatar.config.family_options import DriverOptions
from talkingavatar.config.options import read_options
from talkingavatar.config.schema import DriverConfig
from talkingavatar.data.motion_batches import MotionData, Sequences
from talkingavatar.drive import main
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.driver import Driver
from talkingavatar.drivers.space import RigParameters
from talkingavatar.drivers.training import DriverTraining
from talkingavatar.engine.experiment import run_fit
from talkingavatar.runtime.signals import StopFlag
from talkingavatar.training.terms import NONE, Scalars
from tests.conftest import TINY


class ToyTraining(DriverTraining):
    """Learns how far a jaw moves."""

    def __init__(self, config, body, clips):
        super().__init__()
        self.config, self.body, self.clips = config, body, clips
        self.space, self.spread = RigParameters(body, ["jaw"]), nn.Parameter(torch.zeros(3))
        self.data = MotionData(clips, Sequences(2, 16), config.seed, config.budget.steps)
        self.scalars, self.skipped = NONE, {}

    @property
    def card(self):
        config, own, body = self.config, self.clips[0], self.body
        given = ({}, ["jaw"], self.space.names, [own.name], config.audio.name, config.audio.output, own.fps)
        return DriverCard(config.driver.name, *given, body.name, body.checksum)

    def training_step(self, batch, batch_idx):
        loss = (self.spread - self.space.parts.read(batch.pose).std(0)).square().mean()
        self.scalars = Scalars(("driver/loss/total",), loss.detach()[None], self.global_step)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)

    def rates(self, step):
        return {"driver/spread": 0.05}

    def adopt(self, checkpoint):
        self.load_state_dict(checkpoint["state_dict"])


class Toy(Driver):
    """Any walk of the jaw."""

    lookahead, draws = 0.0, True

    def __init__(self, spread, space, card):
        self.spread, self.space, self.card = spread, space, card

    @classmethod
    def options(cls, config):
        return read_options(DriverOptions(), config.driver.options, "driver.options")

    @classmethod
    def training(cls, config, body, clips, render):
        return ToyTraining(config, body, clips)

    @classmethod
    def load(cls, checkpoint, body):
        return cls(checkpoint["state_dict"]["spread"], RigParameters(body, ["jaw"]), DriverCard.of(checkpoint))

    def sample(self, heard, prompt, seed, count=1):
        draws = [torch.Generator().manual_seed(seed + k) for k in range(count)]
        return self.spread.abs() * torch.stack([torch.randn(heard.frames, 3, generator=draw) for draw in draws])


def offered(folder, monkeypatch, **drivers):
    """An installed package with these entry points."""
    package = folder / "site" / "toy-1.0.dist-info"
    package.mkdir(parents=True)
    lines = "\n".join(f"{name} = {place}" for name, place in drivers.items())
    (package / "entry_points.txt").write_text(f"[talkingavatar.drivers]\n{lines}\n")
    monkeypatch.syspath_prepend(folder / "site")


@pytest.fixture
def run(cache, tmp_path, monkeypatch):
    """An avatar with the toy for its driver."""
    offered(tmp_path, monkeypatch, toy="tests.drivers.test_sampling:Toy")
    overrides = ["experiment=gaussianheadtalk_full", *TINY, "budget.steps=10", "budget.aligned_frames=0"]
    config = compose([*overrides, "trainer.progress=false", f"run.path={tmp_path / 'run'}"])
    config = replace(config, driver=DriverConfig("toy", options={"identities": []}))
    assert run_fit(config, StopFlag()).run == tmp_path / "run"
    return tmp_path / "run"


def pictures(file):
    with av.open(str(file)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_samples_differ_and_the_same_seed_gives_them_again(run, tmp_path, capsys):
    speech = load_speech(voices()[1]).excerpt(30.0, 30.4)
    soundfile.write(tmp_path / "new.wav", speech.samples, speech.rate)
    given = [f"run={run}", f"audio={tmp_path / 'new.wav'}", "samples=3", "seed=1"]
    films = []
    for folder in ("a", "b"):
        assert main([*given, f"out={tmp_path / folder / 'new.mp4'}"]) == 0
        films.append([pictures(tmp_path / folder / f"new-{number}.mp4") for number in (1, 2, 3)])
        assert {file.suffix for file in (tmp_path / folder).iterdir()} == {".csv", ".json", ".mp4"}
    assert capsys.readouterr().out.count("video: ") == 6
    for one, again in zip(*films, strict=True):
        assert len(one) == 10 and np.array_equal(one, again)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(films[0][a].astype(int) - films[0][b]).max() > 10
    assert main([*given, "speaker=someone"]) == 2
    assert "toy takes no prompt" in capsys.readouterr().err
