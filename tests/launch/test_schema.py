"""Sweep files against W&B's own schema: that of its package `sweeps`, which `wandb` checks with."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml

SWEEPS = Path(__file__).parents[2] / "sweeps"


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    try:
        schema = distribution("sweeps").locate_file("sweeps/config/schema.json")
    except PackageNotFoundError:
        pytest.skip("W&B's schema is not here: pip install --no-deps sweeps")
    return jsonschema.Draft7Validator(json.loads(Path(str(schema)).read_text()))


@pytest.mark.parametrize("file", sorted(SWEEPS.glob("*.yaml")), ids=lambda f: f.stem)
def test_a_sweep_file_is_one_of_wandb(validator, file):
    content = yaml.safe_load(file.read_text())
    assert [error.message for error in validator.iter_errors(content)] == []
    assert content["name"] == file.stem


def test_the_schema_refuses_what_wandb_would(validator):
    content = yaml.safe_load((SWEEPS / "thgs_table3.yaml").read_text())
    for wrong in ({"method": "gird"}, {"parameters": {}}, {"parameters": {"seed": {"values": []}}}, {"extra": 1}):
        assert not validator.is_valid(content | wrong), wrong


@pytest.mark.parametrize("file", sorted(SWEEPS.glob("*.yaml")), ids=lambda f: f.stem)
def test_the_agent_of_wandb_starts_the_same_run(file):
    """What `wandb agent` makes of the command and the first values is what we start."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    from talkingavatar.launch.expansion import expand
    from talkingavatar.launch.sweep_file import read_sweep

    content = yaml.safe_load(file.read_text())
    parameters = content["parameters"].items()
    first = {key: {"value": spec["value"] if "value" in spec else spec["values"][0]} for key, spec in parameters}
    words = {"${env}": [], "${interpreter}": ["python"], "${program}": [content["program"]]}
    words["${args_no_hyphens}"] = create_sweep_command_args({"args": first})["args_no_hyphens"]
    command = [part for word in create_sweep_command(content["command"]) for part in words.get(word, [word])]
    assert command == ["python", "-m", "talkingavatar.fit", *expand(read_sweep(file))[0].overrides]
