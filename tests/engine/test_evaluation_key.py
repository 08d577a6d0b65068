"""Figures that were measured stand as long as nothing they come from has changed."""

from dataclasses import replace

import pytest

from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.config.protocol import Condition
from talkingavatar.data.motion_clips import speaker_clip
from talkingavatar.engine.measuring.held_out import held_out_of_clip
from talkingavatar.engine.measuring.measure import Found, Networks
from talkingavatar.engine.measuring.measures.registry import MEASURES
from talkingavatar.engine.measuring.measures.speed import Speed
from talkingavatar.engine.measuring.result_key import result_key

QUIET = ["data.seconds=8", "tracking=none", "trainer.progress=false"]


@pytest.fixture(scope="module")
def held():
    config = compose(QUIET)
    return held_out_of_clip(speaker_clip(config.data, config.audio, "smplx", 25.0, 0.5), load_body("open"))


@pytest.fixture
def given(held, tmp_path):
    for name in ("last.ckpt", "driver.ckpt"):
        (tmp_path / name).write_bytes(name.encode())
    return {
        "checkpoints": [tmp_path / "last.ckpt", tmp_path / "driver.ckpt"],
        "config": compose(QUIET),
        "held": held,
        "condition": Condition(spoken=True),
        "networks": Networks({"lpips_alex": Found(object(), {"sha256": "a"})}),
        "looked_at": (30,),
    }


def test_the_same_is_the_same(given):
    elsewhere = compose([*QUIET, "run.path=elsewhere", "trainer.accelerator=cpu"])
    assert result_key(**given) == result_key(**given | {"config": elsewhere})


@pytest.mark.parametrize("stage", [0, 1])
def test_a_stage_trained_on_is_measured_anew(given, stage):
    before = result_key(**given)
    given["checkpoints"][stage].write_bytes(b"trained on")
    assert result_key(**given) != before


def test_everything_else_counts_as_well(given, held, monkeypatch):
    others = [
        {"condition": Condition(spoken=True, seed=1)},
        {"condition": Condition(spoken=True, reference="true")},
        {"held": replace(held, frames=held.frames[:-1])},
        {"held": replace(held, tracked=held.pose)},
        {"networks": Networks({"lpips_alex": Found(object(), {"sha256": "b"})})},
        {"networks": Networks({"lpips_alex": Found(why="not there")})},
        {"looked_at": (60,)},
        {"config": compose([*QUIET, "renderer.background=[0,0,0]"])},
    ]
    keys = {result_key(**given | other) for other in ({}, *others)}
    monkeypatch.setattr(Speed, "version", Speed.version + 1)
    keys.add(result_key(**given))
    monkeypatch.setattr("talkingavatar.engine.measuring.result_key.MEASURES", MEASURES[1:])
    keys.add(result_key(**given))
    assert len(keys) == len(others) + 3
