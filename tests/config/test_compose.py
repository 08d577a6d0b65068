import re
from dataclasses import asdict, fields

import pytest

from talkingavatar.config.compose import compose, from_yaml, to_yaml
from talkingavatar.config.family_options import OPTIONS, Audio2Param, Thgs
from talkingavatar.config.identity import differences
from talkingavatar.config.listing import config_dir, family_of, group_options
from talkingavatar.config.ranges import check_ranges
from talkingavatar.config.schema import DensityConfig, LossTermConfig, RateConfig
from talkingavatar.errors import UserError


@pytest.mark.parametrize("experiment", group_options()["experiment"])
def test_every_preset_composes(experiment):
    """Under the name of its place, and of the family in whose folder it stands."""
    config = compose([f"experiment={experiment}"])
    assert config.experiment == experiment and config.family == family_of(experiment)


def test_a_family_brings_what_belongs_together():
    config = compose(["experiment=gaussiantalker_style", "body=flame"])
    assert config.family == "gaussiantalker" and config.method.name == "audio_deformed"
    assert config.loss.name == "triangle_bound" and config.data.framing == "head" and config.body.name == "flame"


def test_names_are_those_of_families_and_rows():
    """Names that commands, sweeps and tables were written with."""
    known = group_options()["experiment"]
    assert {"thgs_full", "gaussianheadtalk_full", "gaussiantalker_style", "syncnet", "audio2param"} <= known.keys()
    files = list((config_dir() / "experiment").rglob("*.yaml"))
    assert len(files) == len(known)  # no two places of one name
    assert family_of("thgs_wo_leb") == "thgs" and family_of("syncnet") == "syncnet" and family_of("mine") == "mine"


@pytest.mark.parametrize("group", group_options())
def test_every_option_of_every_group_composes(group):
    for option in group_options()[group]:
        extra = {"capture": ["data.path=somewhere"], "ddp": ["experiment=audio2param"]}.get(option, [])
        compose([f"{group}={option}", *extra])


def test_presets_differ_from_full_in_what_their_name_says():
    full = compose(["experiment=thgs_full"])
    for name, keys in {
        "thgs_wo_leb": {"leb"},
        "thgs_wo_saam": {"saam"},
        "thgs_wo_joint": {"joint"},
        "thgs_vanilla": {"leb", "saam"},
    }.items():
        changed = set(differences(full, compose([f"experiment={name}"]))) - {"experiment"}
        assert changed == {f"method.options.{key}" for key in keys}
    changed = set(differences(full, compose(["experiment=thgs_wo_expression"]))) - {"experiment"}
    assert changed == {"method.silence"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("experiment=thgs_ful", "did you mean thgs_full"),
        ("experiment=thgs/wo_leb", "did you mean thgs_wo_leb"),
        ("experiment=thgs_full,thgs_wo_leb", "talkingavatar.sweep"),
        ("seed=0,1", "talkingavatar.sweep"),
        ("~experiment", "a plain choice"),
        ("budgt=quick", "did you mean budget"),
        ("data.sise=100", "did you mean data.size"),
        ("budget.steps=many", "budget.steps"),
        ("data.size=3", "64 to 8192"),
        ("data=capture", "data.path"),
        ("trainer.accelerator=gpuu", "did you mean gpu"),
        ("density.by=errors", "did you mean error"),
        ("data.cloth=pinstripes", "did you mean pinstripe"),
        ("method.options.lebb=false", "did you mean method.options.leb"),
        ("method.options.leb=maybe", "not a valid bool"),
        ("driver.options.width=wide", "driver.options.width"),
        ("data.heldout=2", "0.001 to 0.999"),
        ("method.silence=[audi]", "did you mean audio"),
        ("nonsense", "key=value"),
        ("trainer.precision=bf16", "its vertices need the digits"),
        ("seed=", "seed"),
        ("+budget.stpes=3", "did you mean budget.steps"),
        ("++budget.stpes=3", "did you mean budget.steps"),
        ("~budget.stpes", "budget.stpes"),
        ("+loss.terms.l1.wieght=2", "loss.terms.l1.weight"),
        ("+loss.terms.x={wieght: 1}", "loss.terms.x.wieght: found an unknown key"),
        ("+loss.terms.x={weight: heavy}", "loss.terms.x.weight: found"),
        ("+loss.terms.x=3", "loss.terms.x: found '3'; expected a mapping of weight, start"),
        ("+stages.avatar.density.name=none", "+stages.avatar.density={name: ...}"),
        ("+stages.avatr.density={name: none}", "stages.avatar.density"),
        ("data.shutter=nan", "data.shutter: found nan"),
        ("data.seconds=inf", "data.seconds: found inf"),
        ("loss.terms.l1.weight=nan", "loss.terms.l1.weight: found nan"),
        ("method.schedule.means.lr=-1", "method.schedule.means.lr: found -1"),
        ("method.options.opacity=nan", "method.options.opacity: found nan"),
        ("renderer.background=[nan,0,0]", "renderer.background[0]: found nan"),
        ("renderer.background=[1,1]", "renderer.background: found 2 numbers"),
        ("data.seed=-5", "data.seed: found -5"),
        ("seed=99999999999999999999999", "seed: found 99999999999999999999999"),
        ("budget.warmup=-1", "budget.warmup: found -1"),
        ("method.paper_steps=0", "method.paper_steps: found 0"),
        ("data.path=", "data.path: found nothing"),
        ("run.path=", "run.path: found nothing"),
        ("driver.init=''", "driver.init: found nothing"),
        ("data.views=[front,'']", "data.views[1]: found nothing"),
        (
            "data.path=my_capture",
            "expected no path; give data=capture or data=portrait as well",
        ),
        ("body.path=SMPLX_NEUTRAL.npz", "give body=smplx or body=flame as well"),
        ("audio.path=somewhere", "audio=logmel, which reads none"),
    ],
)
def test_a_mistake_is_one_clear_line(override, expected):
    with pytest.raises(UserError) as caught:
        compose([override])
    message = str(caught.value)
    assert expected in message and "\n" not in message
    assert re.search(r".+: found .+; expected .+; .+", message)


@pytest.mark.parametrize(("override", "usual"), [("data.emotions=all", "'none'"), ("data.cameras=3", "1")])
def test_what_only_the_embedded_speaker_is_filmed_with_is_refused_of_others(override, usual):
    compose(["data=speaker_head", override])
    for other in (["data=portrait"], ["data=capture", "data.path=mine"]):
        with pytest.raises(
            UserError, match=rf"with data=\w+, which is not filmed here; expected {usual}; give data=spea"
        ):
            compose([*other, override])


def test_a_whole_row_and_a_section_of_a_stage_are_typed_as_such():
    words = ["+loss.terms.x={weight: 2}", "++method.schedule.foo={lr: 0.1}", "loss.terms.l1={start: 3}"]
    config = compose([*words, "stages.avatar.density={name: none}"])
    assert config.loss.terms["x"] == LossTermConfig(weight=2.0)
    assert config.method.schedule["foo"] == RateConfig(lr=0.1)
    assert config.loss.terms["l1"].start == 3 and config.stages["avatar"].density == DensityConfig(name="none")


FOLDERS = (
    "clip (1), Präsentation", "Pra\u0308sentation [x] {y}", "-it's a:b", 'say "hi" #1 100%', "$HOME a ${b} \\${c}",
    "k=v\\ends\\", "001", "true", " ahead and behind ", "two\nlines 🙂 *?!&;|<>`^@~",
)  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_may_have_any_name(folder, tmp_path):
    """As it stands on the command line, and through the run's own file."""
    config = compose(["data=capture", f"data.path={folder}", f"run.path={folder}"])
    assert (config.data.path, config.run.path) == (folder, folder)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert from_yaml(tmp_path / "config.yaml").data.path == folder


@pytest.mark.parametrize(
    ("given", "made_up_for"), [(["data=capture", "data.path=mine"], False), (["data=portrait"], False), ([], True)]
)
def test_faces_that_were_fitted_to_their_landmarks_are_left_as_they_are(given, made_up_for):
    data = compose(given).data
    assert (data.shape_shift, data.face_gains) == (made_up_for, made_up_for)


def test_lists_of_folders_and_quotes():
    config = compose(["experiment=audio2param", "driver.options.captures=[a (1), b & c,'d, e']"])
    assert config.driver.options["captures"] == ["a (1)", "b & c", "d, e"]
    assert compose(["data=capture", "data.path='quoted (1)'"]).data.path == "quoted (1)"
    assert compose(["body.path=null"]).body.path is None


@pytest.mark.parametrize("kind", sorted({node for nodes in OPTIONS.values() for node in nodes.values()}, key=str))
def test_every_number_of_the_options_has_a_range_that_holds_its_default(kind):
    check_ranges(kind())
    for part in fields(kind):
        values = default if isinstance(default := getattr(kind(), part.name), list) else [default]
        if any(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            assert "range" in part.metadata, part.name


def test_an_option_is_set_without_plus_and_its_default_stands_once():
    config = compose(["method.options.anchor_skinning=false", "driver.options.targets=[jaw]"])
    assert config.method.options == asdict(Thgs(anchor_skinning=False))
    assert config.driver.options == asdict(Audio2Param(targets=["jaw"]))
    text = (config_dir() / "driver" / "audio2param.yaml").read_text()
    assert not [option.name for option in fields(Audio2Param) if f"  {option.name}:" in text]


@pytest.mark.parametrize(("section", "name"), [(s, name) for s, nodes in OPTIONS.items() for name in nodes])
def test_every_node_of_options_is_asked_for_by_a_preset(section, name):
    config = compose([f"{section}={name}"])
    assert getattr(config, section).options == asdict(OPTIONS[section][name]())


def test_yaml_round_trip(tmp_path):
    config = compose(["experiment=thgs_wo_leb", "seed=4"])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert differences(config, from_yaml(tmp_path / "config.yaml")) == []


def test_a_run_of_before_keeps_what_it_was_fitted_with(tmp_path):
    """Shapes as tracked, and a mouth's inside drawn where it lies."""
    config = compose(["experiment=thgs_full"])
    text = to_yaml(config)
    assert config.data.shape_shift and config.method.options["behind"] > 0
    kept = [line for line in text.splitlines() if line.split(":")[0].strip() not in ("shape_shift", "behind")]
    assert len(text.splitlines()) - len(kept) == 2
    (tmp_path / "config.yaml").write_text("\n".join(kept))
    before = from_yaml(tmp_path / "config.yaml")
    assert differences(config, before) == ["data.shape_shift", "method.options.behind"]
    assert not before.data.shape_shift and before.method.options["behind"] == 0
