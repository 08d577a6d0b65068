"""An experiment of three stages, two of them drivers of one kind with sections of their own."""

import json
from dataclasses import replace

import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.config.schema import DriverConfig, StageConfig
from talkingavatar.drivers.chain import Chain
from talkingavatar.engine.experiment import run_fit
from talkingavatar.engine.fitted import load_run
from talkingavatar.runtime.signals import Preempted, StopFlag
from tests.conftest import TINY
from tests.drivers.test_sampling import Toy, offered


class Follower(Toy):
    """Walks on from where the driver before it went."""

    def sample(self, heard, prompt, seed, count=1):
        return heard.motion + super().sample(heard, prompt, seed, count)


@pytest.fixture
def config(cache, tmp_path, monkeypatch):
    offered(tmp_path, monkeypatch, toy="tests.drivers.test_sampling:Toy", follower="tests.engine.test_stages:Follower")
    overrides = ["experiment=gaussianheadtalk_full", *TINY, "budget.steps=12", "trainer.checkpoint_every=3"]
    config = compose(
        [*overrides, "budget.aligned_frames=0", "trainer.progress=false", f"run.path={tmp_path / 'whole'}"]
    )
    toy, follower = (DriverConfig(name, options={"identities": []}) for name in ("toy", "follower"))
    stages = {"head": StageConfig(), "speech": StageConfig("driver", steps=5, driver=toy)}
    stages["motion"] = StageConfig("driver", steps=7, driver=follower)
    return replace(config, stages=stages)


def states(run, names=("head", "speech", "motion")):
    return [torch.load(run / f"{name}.ckpt", weights_only=True)["state_dict"] for name in names]


def test_three_stages_killed_in_each_continue_to_the_bit(config, tmp_path):
    assert run_fit(config, StopFlag()) is not None
    for stop, made in ((8, ["head"]), (15, ["head", "speech"]), (21, ["head", "speech", "motion"])):
        stopped = replace(config, run=replace(config.run, path=str(tmp_path / "parts"), stop_after=stop))
        with pytest.raises(Preempted):
            run_fit(stopped, StopFlag())
        assert {file.stem for file in (tmp_path / "parts").glob("*.ckpt")} == set(made)
    outcome = run_fit(replace(stopped, run=replace(stopped.run, stop_after=None)), StopFlag())
    for whole, part in zip(states(tmp_path / "whole"), states(tmp_path / "parts"), strict=True):
        assert whole.keys() == part.keys() and all(torch.equal(whole[key], part[key]) for key in whole)
    assert outcome.summary["steps"] == 24 and outcome.summary["stages"] == ["head", "speech", "motion"]
    assert {"speech/opening_r/tracked", "motion/opening_r/tracked"} <= outcome.summary["metrics"].keys()
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == 24
    driver = load_run(tmp_path / "parts").driver
    assert isinstance(driver, Chain) and [type(one) for one in driver.drivers] == [Toy, Follower]


def test_a_head_with_a_critic_killed_continues_to_the_bit(cache, tmp_path):
    """Patches, residual, mappers and the critic's moments."""
    starts = [f"method.schedule.{group}.start=0" for group in ("residual", "own", "mapper", "shape", "critic")]
    config = compose(
        ["experiment=vasa3d_full", "stages=[avatar]", *TINY, *starts, "data.frames=20", "budget.steps=12",
         "loss.terms.adversarial.weight=0.001", "loss.terms.adversarial.start=0", "method.options.patch=32",
         "trainer.checkpoint_every=3", "budget.aligned_frames=0", "budget.media_frames=1", "trainer.progress=false",
         "metrics.lpips=[]", f"run.path={tmp_path / 'whole'}"]
    )  # fmt: skip
    assert run_fit(config, StopFlag()) is not None
    parts = replace(config.run, path=str(tmp_path / "parts"))
    for stop in (5, 8):
        with pytest.raises(Preempted):
            run_fit(replace(config, run=replace(parts, stop_after=stop)), StopFlag())
    assert run_fit(replace(config, run=parts), StopFlag()) is not None
    whole, part = (torch.load(tmp_path / name / "avatar.ckpt", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(values, part["state_dict"][key]) for key, values in whole["state_dict"].items())
    assert any(key.startswith("patches.") for key in whole["state_dict"])


def test_an_avatar_its_units_and_what_they_prompt_killed_in_each_continue_to_the_bit(cache, tmp_path):
    """Lines of units, speech to units, and the diffusion that hears both."""
    small = ["data.cameras=1", "driver.options.identities=[]", "stages.units.driver.options.identities=[]"]
    config = compose(
        ["experiment=emodifftalk_full", *TINY, *small, "data.seconds=4", "budget.steps=10", "stages.units.steps=6",
         "stages.driver.steps=6", "method.options.perceptual=edges", "trainer.checkpoint_every=3", "metrics.lpips=[]",
         "budget.aligned_frames=0", "budget.media_frames=1", "trainer.progress=false", f"run.path={tmp_path / 'whole'}"]
    )  # fmt: skip
    assert run_fit(config, StopFlag()) is not None
    parts = replace(config.run, path=str(tmp_path / "parts"))
    for stop in (5, 14, 20):
        with pytest.raises(Preempted):
            run_fit(replace(config, run=replace(parts, stop_after=stop)), StopFlag())
    assert run_fit(replace(config, run=parts), StopFlag()) is not None
    names = ("avatar", "units", "driver")
    for whole, part in zip(states(tmp_path / "whole", names), states(tmp_path / "parts", names), strict=True):
        assert all(torch.equal(whole[key], part[key]) for key in whole)
    assert states(tmp_path / "whole", ["avatar"])[0]["gaussians.lines"].any()
