"""Stages of a configuration: chosen on the command line, and the configuration as each of them sees it."""

from dataclasses import replace

import pytest

from talkingavatar.config.compose import compose, from_yaml, to_yaml
from talkingavatar.config.identity import identity, run_name
from talkingavatar.config.schema import DriverConfig, StageConfig
from talkingavatar.config.stages import of_kind, seen_by
from talkingavatar.errors import UserError


def steps(config):
    return {name: seen_by(config, name).budget.steps for name in config.stages}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["experiment=thgs_full"], {"avatar": 1200}),
        (["experiment=thgs_full", "stages=[avatar,driver]"], {"avatar": 1200, "driver": 600}),
        (["experiment=gaussianheadtalk_full", "budget=standard"], {"avatar": 15000, "driver": 7500}),
        (["experiment=gaussianheadtalk_full", "stages=[driver]", "stages.driver.steps=7"], {"driver": 7}),
        (["experiment=gaussianheadtalk_full", "stages=[avatar]"], {"avatar": 1200}),
        (["experiment=syncnet"], {"syncnet": 600}),
        (["experiment=syncnet", "budget.steps=1"], {"syncnet": 1}),
        (["+stages={speech:{kind:driver,driver:{name:other,step_cost:4}}}"], {"avatar": 1200, "speech": 300}),
    ],
)
def test_stages_and_the_steps_that_a_budget_gives_them(overrides, expected, tmp_path):
    config = compose(overrides)
    assert steps(config) == expected
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert list(from_yaml(tmp_path / "config.yaml").stages.items()) == list(config.stages.items())


def test_a_stage_sees_its_own_sections_and_steps():
    config = compose(["experiment=gaussianheadtalk_full"])
    own = StageConfig("driver", driver=DriverConfig("other", step_cost=3))
    config = replace(config, stages=config.stages | {"speech": own})
    assert of_kind(config, "driver") == ["driver", "speech"]
    assert seen_by(config, "driver").driver == config.driver and seen_by(config, "speech").driver == own.driver
    assert steps(config) == {"avatar": 1200, "driver": 600, "speech": 400}
    assert seen_by(config, "avatar") == config


def test_stages_and_their_order_decide_a_run():
    config = compose(["experiment=gaussianheadtalk_full"])
    turned = replace(config, stages=dict(reversed(config.stages.items())))
    own = replace(config, stages=config.stages | {"driver": StageConfig("driver", driver=DriverConfig())})
    assert len({run_name(config), run_name(turned), run_name(own)}) == 3
    assert not any(key.startswith("stages.driver.driver.") for key in identity(own) if ".options." in key)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages=[]", "at least one, of kind avatar, driver, pretrained"),
        ("stages=[avatr]", "stages: found 'avatr'; expected some of avatar, driver, pretrained"),
        ("stages=[driver,avatar]", "expected avatar, driver, in this order"),
        ("stages.avatar.kind=drivr", r"stages\.avatar\.kind: found 'drivr'"),
        ("stages.avatar.steps=0", r"stages\.avatar\.steps: found 0; expected 1 to"),
        ("+stages={../x:{kind:driver}}", "a name of small letters|override"),
    ],
)
def test_mistakes(override, message):
    with pytest.raises(UserError, match=message):
        compose([override])
