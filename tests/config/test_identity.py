"""A run's name and folder: made of what its stages use and what differs from the defaults."""

from dataclasses import dataclass, field, fields, make_dataclass, replace

import pytest

from talkingavatar.config.compose import compose, from_yaml, to_yaml
from talkingavatar.config.family_options import OPTIONS, Thgs
from talkingavatar.config.identity import ALWAYS, NOT_USED, USED, differences, identity, run_name
from talkingavatar.config.schema import DataConfig, FitConfig, RateConfig
from talkingavatar.errors import UserError


def test_a_name_is_made_of_what_decides_the_result():
    name = run_name(compose(["seed=1"]))
    assert name == run_name(compose(["seed=1"]))
    quiet = ["tracking=none", "trainer.progress=false", "trainer.threads=3", "run.fresh=true", "data.cache_mb=9"]
    assert name == run_name(compose(["seed=1", *quiet]))
    assert name != run_name(compose(["seed=2"]))
    assert name != run_name(compose(["seed=1", "loss.terms.l1.weight=0.7"]))
    assert name.startswith("thgs_full-quick-s1-")


@pytest.mark.parametrize(
    ("experiment", "unused", "used"),
    [
        ("thgs_full", ["driver.step_cost=3", "driver.options.width=64"], "density.start=9"),
        ("syncnet", ["driver.step_cost=9", "body=flame", "metrics=all"], "pretrained.terms.contrast.weight=2"),
        ("audio2param", ["renderer.backend=plain", "method.silence=[audio]", "metrics=all"], "driver.step_cost=1"),
        ("audio2param", [], "trainer.precision=bf16"),
        ("gaussianheadtalk_full", ["pretrained.step_cost=1"], "stages.driver.steps=900"),
    ],
)  # fmt: skip
def test_what_no_stage_uses_does_not_count(experiment, unused, used):
    plain = compose([f"experiment={experiment}"])
    other = compose([f"experiment={experiment}", *unused])
    assert run_name(other) == run_name(plain) and differences(plain, other) == []
    other = compose([f"experiment={experiment}", used])
    assert run_name(other) != run_name(plain)
    assert differences(plain, other) == [used.partition("=")[0]]


def test_every_section_is_told_of():
    told = {*ALWAYS, *(section for sections in USED.values() for section in sections), *NOT_USED}
    how = {"schema", "trainer", "tracking", "run"}  # a run is carried out; its result does not hang on it
    assert {f.name for f in fields(FitConfig)} == how | {key for key in told if "." not in key}


@dataclass
class LaterRate(RateConfig):
    """With a field that a later version has."""

    momentum: float = 0.5


@dataclass
class LaterData(DataConfig):
    mirrored: bool = False
    spans: list[int] = field(default_factory=lambda: [1, 2])


@dataclass
class LaterConfig(FitConfig):
    data: LaterData = field(default_factory=LaterData)


def later(config: FitConfig, **data) -> LaterConfig:
    """The same configuration, of a version with more fields."""
    known = {f.name: getattr(config, f.name) for f in fields(FitConfig)}
    rows = {name: LaterRate(**vars(row)) for name, row in config.method.schedule.items()}
    method = replace(config.method, schedule=rows)
    return LaterConfig(**known | {"data": LaterData(**vars(config.data) | data), "method": method})


@pytest.mark.parametrize("experiment", ["thgs_full", "gaussianheadtalk_full", "syncnet"])
def test_a_new_field_renames_no_run_until_it_is_set(experiment):
    config = compose([f"experiment={experiment}", "data.identity=1"])
    assert run_name(later(config)) == run_name(config)
    assert run_name(later(config, mirrored=True)) != run_name(config)


def test_a_row_counts_even_where_all_in_it_is_default():
    config = compose(["experiment=syncnet"])
    terms = config.pretrained.terms
    fewer = replace(config, pretrained=replace(config.pretrained, terms={"mouth_lips": terms["mouth_lips"]}))
    assert differences(config, fewer) == [
        "pretrained.terms.contrast",
        "pretrained.terms.mouth_sound",
        "pretrained.terms.mouth_sound.weight",
    ]
    assert identity(config)["pretrained.terms.contrast"] == ""  # of weight 1, the schema's


def test_a_run_of_another_schema_is_refused(tmp_path):
    text = to_yaml(compose([]))
    for changed, found in ((text.replace("schema: 1\n", "schema: 7\n"), "schema 7"), ("seed: 1\n", "no schema")):
        (tmp_path / "config.yaml").write_text(changed)
        with pytest.raises(UserError, match=rf"{found}; expected schema 1; fit it anew.*run.fresh=true.*run.path"):
            from_yaml(tmp_path / "config.yaml")
    with pytest.raises(UserError, match="schema: found 2"):
        compose(["schema=2"])


def test_an_option_that_is_new_renames_no_run(monkeypatch):
    config = compose(["experiment=thgs_wo_leb"])
    assert identity(config)["method.options.leb"] is False and "method.options.saam" not in identity(config)
    names = {"method.options.weather", "method.options.leb"}
    monkeypatch.setitem(OPTIONS["method"], "thgs", make_dataclass("Later", [("weather", str, "fair")], bases=(Thgs,)))
    for weather, named in (("fair", {"method.options.leb"}), ("foul", names)):
        options = config.method.options | {"weather": weather}
        known = identity(replace(config, method=replace(config.method, options=options)))
        assert named == names & known.keys()
