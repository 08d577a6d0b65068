"""Sweep files to runs: counts, names, draws, and what is refused."""

import math
import random
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from talkingavatar.config.compose import compose
from talkingavatar.config.protocol import read_protocol
from talkingavatar.config.quoting import hydra_text
from talkingavatar.errors import UserError
from talkingavatar.launch.check import check
from talkingavatar.launch.expansion import expand
from talkingavatar.launch.parameters import distribution, draw
from talkingavatar.launch.sweep_file import read_sweep
from talkingavatar.launch.values import NAME_LENGTH

SWEEPS = Path(__file__).parents[2] / "sweeps"
COMMAND = ["${env}", "${interpreter}", "-m", "${program}", "${args_no_hyphens}"]


@pytest.fixture
def sweep(tmp_path):
    """Writes a sweep file and reads it back."""

    def write(parameters: dict, method: str = "grid", **more):
        content = {"program": "talkingavatar.fit", "method": method, "parameters": parameters, "command": COMMAND}
        (tmp_path / "tried.yaml").write_text(yaml.safe_dump(content | more))
        return read_sweep(tmp_path / "tried.yaml")

    return write


@pytest.mark.parametrize("file", sorted(SWEEPS.glob("*.yaml")), ids=lambda f: f.stem)
def test_every_run_of_every_sweep_file_composes(file):
    jobs = expand(read_sweep(file))
    assert len({job.name for job in jobs}) == len(jobs)
    for experiment in {job.overrides[0] for job in jobs}:
        of_one = [job for job in jobs if job.overrides[0] == experiment]
        assert len(of_one) == 4
        config = compose(of_one[-1].overrides)
        assert f"experiment={config.experiment}" == experiment
        assert config.data.identity == 1 and config.seed == 1


def swept(file: str) -> set[str]:
    """The experiments of a sweep file."""
    return {job.overrides[0].removeprefix("experiment=") for job in expand(read_sweep(SWEEPS / file))}


TABLES = {f"table{number}": f"thgs_table{number}.yaml" for number in range(3, 9)}


OTHERS = {"gaussianheadtalk": "gaussianheadtalk.yaml", "emodifftalk": "emodifftalk.yaml"}


@pytest.mark.parametrize(("protocol", "file"), [*TABLES.items(), *OTHERS.items()])
def test_a_table_has_all_its_rows(protocol, file):
    assert swept(file) == {row.experiment for row in read_protocol(protocol).rows}
    assert protocol not in TABLES or swept(file) <= swept("thgs_tables.yaml")


def test_the_families_are_fitted_to_the_same_recordings():
    jobs = expand(read_sweep(SWEEPS / "families.yaml"))
    assert {job.overrides[1] for job in jobs} == {"data=speaker_head"}
    assert swept("families.yaml") <= {row.experiment for row in read_protocol("families").rows}


def test_a_grid_is_every_combination_in_the_order_of_the_file(sweep):
    jobs = expand(sweep({"experiment": {"values": ["thgs_full", "thgs_wo_leb"]}, "seed": {"values": [3, 1, 2]}}))
    assert [job.name for job in jobs[:4]] == [
        "thgs_full_seed3",
        "thgs_full_seed1",
        "thgs_full_seed2",
        "thgs_wo_leb_seed3",
    ]
    assert jobs[5].overrides == ("experiment=thgs_wo_leb", "seed=2")


def test_a_fixed_override_of_a_swept_key_replaces_its_values(sweep):
    tried = sweep({"experiment": {"value": "thgs_full"}, "seed": {"values": [0, 1]}})
    jobs = expand(tried.with_overrides(["seed=4,5,6", "budget=standard"]))
    assert [job.name for job in jobs] == ["seed4", "seed5", "seed6"]
    assert [job.overrides for job in jobs][-1] == ("budget=standard", "experiment=thgs_full", "seed=6")
    assert expand(tried)[1] == expand(tried.with_overrides(["seed=1"]))[0]
    with pytest.raises(UserError, match=r"data.fps: found 2 values"):
        tried.with_overrides(["data.fps=20,25"])


@pytest.mark.parametrize(
    "value",
    ["plain", "a b", "it's", "back\\slash", "ends\\", "ends\\'", "1", "1e-5", "null", "True", "/a/b=c", "a,b", "", "ä",
     None, True, 3, 1e-7, [1, "a b"], {"a": "b'c"}],
)  # fmt: skip
def test_hydra_reads_back_what_was_written(value):
    read = OverridesParser.create().parse_overrides([f"key={hydra_text(value)}"])[0].value()
    assert read == value and isinstance(read, bool) == isinstance(value, bool)


def test_names_are_unique_and_fit_a_folder(sweep):
    jobs = expand(sweep({"data.path": {"values": ["/a/me", "/b/me", "/c/it's (2)"]}}))
    names = [job.name for job in jobs]
    assert len(set(names)) == 3 and all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for name in names)
    jobs = expand(sweep({f"method.options.{'x' * 30}{i}": {"values": [0.1, 0.2]} for i in range(5)}))
    assert len({job.name for job in jobs}) == 32 and max(len(job.name) for job in jobs) <= NAME_LENGTH


def test_nested_parameters_are_those_of_dotted_keys(sweep):
    dotted = {"budget.steps": {"values": [3, 4]}, "method.schedule.means.lr": {"value": 0.1}, "seed": {"value": 0}}
    schedule = {"parameters": {"schedule": {"parameters": {"means.lr": {"value": 0.1}}}}}
    nested = {"budget": {"parameters": {"steps": {"values": [3, 4]}}}, "method": schedule, "seed": {"value": 0}}
    assert [job.overrides for job in expand(sweep(nested, "grid"))] == [
        job.overrides for job in expand(sweep(dotted, "grid"))
    ]
    with pytest.raises(UserError, match=r"budget\.steps: found it twice"):
        sweep({**nested, "budget.steps": {"value": 5}}, "grid")


def test_random_draws_are_those_of_the_seed(sweep):
    tried = sweep({"seed": {"min": 0, "max": 10**6}, "data.stride": {"values": [1, 2]}}, "random", run_cap=20)
    assert expand(tried) == expand(tried) != expand(tried, draw_seed=1)
    assert len(expand(tried)) == 20 and len(expand(tried, runs=7)) == 7
    few = sweep({"seed": {"values": [0, 1]}}, "random", run_cap=20)
    assert len(expand(few)) == 2


@pytest.mark.parametrize(
    ("spec", "middle"),
    [
        ({"min": 2.0, "max": 6.0}, 4.0),
        ({"min": 2, "max": 6}, 4),
        ({"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-2}, 1e-4),
        ({"distribution": "log_uniform", "min": -4, "max": 0}, math.exp(-2)),
        ({"distribution": "inv_log_uniform_values", "min": 1e-6, "max": 1e-2}, 1e-4),
        ({"distribution": "inv_log_uniform", "min": 1, "max": 3}, math.exp(-2)),
        ({"distribution": "beta", "a": 2, "b": 2}, 0.5),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, 0.5),
        ({"distribution": "normal", "mu": 3.0, "sigma": 0.1}, 3.0),
        ({"distribution": "log_normal", "mu": 1.0, "sigma": 0.1}, math.e),
    ],
)
def test_distributions_have_the_median_of_their_name(spec, middle):
    generator = random.Random(0)
    drawn = sorted(float(draw(distribution("x", spec), generator)) for _ in range(4001))
    assert drawn[2000] == pytest.approx(middle, rel=0.1)
    if "min" in spec and spec.get("distribution") not in ("log_uniform", "inv_log_uniform"):
        assert spec["min"] <= drawn[0] and drawn[-1] <= spec["max"]


@pytest.mark.parametrize(
    ("parameters", "more", "expected"),
    [
        ({}, {}, "an empty grid"),
        ({"seed": {"values": []}}, {}, "an empty grid"),
        ({"seed": 3}, {}, r"parameters\.seed: found 3; .*write \{value: 3\}"),
        ({"data": {"parameters": {"fps": [20, 25]}}}, {}, r"data\.fps: .*write \{values: \[20,25\]\}"),
        ({"+loss.terms.x": {"weight": 1}}, {}, r"write \{value: \{weight: \.\.\.\}\}"),
        ({"budget": {"steps": {"value": 1}}}, {}, r"for a nested key budget\.steps"),
        ({"seed": {"value": 1}}, {"imageuri": "a"}, "did you mean image_uri"),
        ({"seed": {"valeus": [1]}}, {}, "did you mean value"),
        ({"seed": {"min": 0, "max": 9}}, {}, "a grid has no other"),
        ({"data": {"parameters": {"fps": {"value": 25}}, "value": 1}}, {}, "with dots"),
        ({"seed": {"value": 1}}, {"method": "bayes"}, "wandb sweep"),
        ({"seed": {"value": 1}}, {"methd": "grid"}, "did you mean method"),
        ({"seed": {"value": 1}}, {"command": ["python", "${args}"]}, "args_no_hyphens"),
        ({"seed": {"min": 9, "max": 0}}, {"method": "random"}, "swap them"),
        ({"seed": {"distribution": "gamma"}}, {"method": "random"}, "distribution: gamma"),
        ({"seed": {"distribution": "beta", "a": 2}}, {"method": "random"}, "give b"),
    ],
)
def test_mistakes_in_a_file(sweep, parameters, more, expected):
    with pytest.raises(UserError, match=expected):
        sweep(parameters, **({"method": "grid"} | more))


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (
            {"experiment": ["syncnet", "audio2param"], "+driver.terms.speed": [{}]},
            r"driver\.terms\.speed: .*in the run",
        ),
        ({"experiment": ["thgs_full"], "+loss.terms.vertx": [{"weight": 2}]}, "did you mean vertex"),
    ],
)
def test_rows_that_nothing_reads_are_found_in_every_make_of_run(sweep, parameters, expected):
    tried = sweep({key: {"values": values} for key, values in parameters.items()})
    with pytest.raises(UserError, match=expected):
        check(tried, expand(tried))


def test_rows_given_as_mappings_are_tried_one_by_one(sweep):
    tried = sweep({"+loss.terms.leb": {"values": [{"weight": 1}, {"wieght": 1}]}})
    with pytest.raises(UserError, match=r"loss\.terms\.leb\.wieght: found an unknown key"):
        check(tried, expand(tried))


def test_a_million_runs_are_refused_unless_asked_for(sweep):
    wide = sweep({"seed": {"values": list(range(1000))}, "data.seed": {"values": list(range(1000))}})
    with pytest.raises(UserError, match=r"1,000,000 runs.*limit=1000000"):
        expand(wide)
    assert len(expand(wide.with_overrides(["data.seed=0"]))) == 1000
    asked = sweep({"seed": {"values": list(range(150))}, "data.seed": {"values": list(range(100))}})
    assert len(expand(asked, limit=15_000)) == 15_000


def test_what_only_the_server_of_wandb_uses_is_left_out_and_said(sweep, capsys):
    tried = sweep({"seed": {"value": 1}}, project="mine", early_terminate={"type": "hyperband"}, apiVersion="1")
    assert len(expand(tried)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "project, early_terminate: for `wandb sweep` alone" in line and "tracking.project" in line


def test_random_needs_a_count(sweep):
    with pytest.raises(UserError, match="run_cap"):
        expand(sweep({"seed": {"min": 0, "max": 9}}, "random"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"budget.steps": {"distribution": "q_normal", "mu": -50, "sigma": 1, "q": 1}}, "budget.steps"),
        ({"seed": {"distribution": "uniform", "min": 0.1, "max": 0.9}}, "Integer"),
        ({"stages": {"values": [["avatar"], ["avatr"]]}}, "avatr"),
    ],
)
def test_what_is_drawn_and_lists_of_stages_are_tried_before_any_run(sweep, spec, expected):
    made = sweep(spec, "random")
    with pytest.raises(UserError, match=expected):
        check(made, expand(made, runs=3))
