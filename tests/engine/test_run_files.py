"""Files of a run, damaged or of the user's own: healed, or one line; nothing of the user's is lost."""

import io
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.experiment import run_fit
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.contents import check_ours, empty, taken
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.errors import UserError
from talkingavatar.runtime.lock import held
from talkingavatar.runtime.signals import StopFlag


@pytest.fixture(scope="module")
def config() -> FitConfig:
    return compose([])


@pytest.fixture(scope="module")
def made(config, tmp_path_factory) -> Path:
    return RunDirectory.open(at(config, tmp_path_factory.mktemp("made") / "run")).path


@pytest.fixture
def run(made, tmp_path) -> RunDirectory:
    run = RunDirectory(shutil.copytree(made, tmp_path / "run"))
    run.checkpoint("avatar").write_text("old")
    return run


def at(config: FitConfig, path: Path, fresh: bool = False) -> FitConfig:
    return replace(config, run=replace(config.run, path=str(path), fresh=fresh))


def test_a_fresh_start_removes_what_a_run_writes_and_nothing_else(run, tmp_path):
    (run.media / "turntable.mp4").write_text("old")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.png").write_text("mine")
    (run.path / "evaluation").symlink_to(elsewhere)
    empty(run.path, "run.path")
    assert not list(run.path.iterdir()) and (elsewhere / "mine.png").read_text() == "mine"


@pytest.mark.parametrize("mine", ["thesis.tex", "media/holiday.jpg", "evaluation/notes/a.txt", "results/a.json"])
def test_a_fresh_start_beside_anything_of_the_users_removes_nothing(run, config, mine):
    (run.path / mine).parent.mkdir(parents=True, exist_ok=True)
    (run.path / mine).write_text("mine")
    with pytest.raises(UserError, match=r"which no run writes"):
        RunDirectory.open(at(config, run.path, fresh=True))
    assert run.checkpoint("avatar").read_text() == "old" and (run.path / mine).read_text() == "mine"


@pytest.mark.parametrize("content", ["", "name: my app\n", "experiment: 3\n", "- a\n", "experiment: thgs_full"])
def test_a_folder_with_another_config_is_not_emptied(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    (tmp_path / "summary.json").write_text("mine")
    with pytest.raises(UserError, match=r"run\.path"):
        check_ours(tmp_path, "run.path")
    assert "summary.json" in taken(tmp_path), "nor written to without a word"


def test_a_run_under_way_is_not_fitted_twice(run, config):
    with held(run.path, "run.path", "this run"), pytest.raises(UserError, match=r"this run is under way on .* since"):
        run_fit(at(config, run.path), StopFlag())
    assert run.checkpoint("avatar").read_text() == "old"


def test_damaged_files_that_can_be_made_anew_are(run, config, capsys):
    for name in ("provenance.json", "summary.json"):
        (run.path / name).write_text('{"status": ')
    assert RunDirectory.open(at(config, run.path)).read_summary() is None
    assert len(json.loads((run.path / "provenance.json").read_text())) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and all(line.startswith("warning: ") and line.endswith("is made anew") for line in told)
    run.write_summary({"status": "finished", "wall_s": 3.0})
    assert run.read_summary() is None, "a finished run has results"
    with (run.path / "metrics.jsonl").open("wb") as file:
        file.write(b'{"step": 1}\n[1]\n{"step": "x"}\n\xff\xfe\n{"step": null}\n{"step": 2}\n')
    run.truncate_metrics(5)
    assert [json.loads(line)["step"] for line in (run.path / "metrics.jsonl").read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize("name", ["avatar.ckpt", "summary.json", "metrics.jsonl", "status.json"])
def test_a_folder_where_a_run_writes_a_file_is_refused_before_anything_is_done(run, config, name):
    (run.path / name).unlink(missing_ok=True)
    (run.path / name / "mine").mkdir(parents=True)
    before = (run.path / "config.yaml").stat().st_mtime_ns
    with pytest.raises(UserError, match=rf"{name}, a folder; expected a file of the run"):
        RunDirectory.open(at(config, run.path))
    assert (run.path / name / "mine").is_dir() and (run.path / "config.yaml").stat().st_mtime_ns == before


def test_a_finished_run_tells_of_what_is_gone(run, config, capsys):
    done = {"status": "finished", "wall_s": 1.0, "experiment": "a", "steps": 7, "metrics": {}, "skipped": {}}
    run.write_summary(done | {"table": [{"a": 1}]})
    (run.path / "status.json").write_text("{")
    assert run_fit(at(config, run.path), StopFlag()).summary["steps"] == 7
    assert run.progress() == {"step": 7, "steps": 7} and capsys.readouterr().err == ""
    run.checkpoint("avatar").unlink()
    run_fit(at(config, run.path), StopFlag())
    assert "avatar.ckpt is gone" in capsys.readouterr().err


@pytest.mark.parametrize("length", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_a_configuration_that_was_cut_off_is_not_believed(run, config, length):
    file = run.path / "config.yaml"
    text = file.read_text()
    file.write_text(text[: int(length * len(text))])
    with pytest.raises(UserError, match=r"run.fresh=true"):
        RunDirectory.open(at(config, run.path))
    check_ours(run.path, "run.path")  # may start anew: how it was started says that it is a run


STEPS = {"loops": {"fit_loop": {"epoch_progress": 1}}}


class Harmful:
    """What would run when a pickle that holds it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("planted",)


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


SMALL = {"state_dict": {"weight": torch.ones(2, 3), "bias": torch.ones(2)}, "global_step": 3, "loops": {}}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "damaged"),
        (saved(SMALL)[:700], "damaged"),
        (b"\0" * 900, "damaged"),
        (pickle.dumps({"state_dict": Harmful(), "global_step": 1, "loops": {}}), "damaged"),
        (saved({"state_dict": Harmful(), "global_step": 1, "loops": {}}), "damaged"),
        (saved([1]), "another kind"),
        (saved({**SMALL, "state_dict": 3}), "something else than tensors"),
        (saved({**SMALL, "global_step": "3"}), "step '3'"),
        (saved({**SMALL, "state_dict": {"weight": torch.full((2, 3), torch.nan)}}), "NaN or infinity in weight"),
        (saved({**SMALL, "state_dict": {"weight": torch.full((2, 3), torch.inf)}}), "NaN or infinity in weight"),
        (
            saved({**SMALL, "state_dict": {"weight": torch.full((2, 3), -1e30)}}),
            r"1e\+30 in weight; expected",
        ),
    ],
    ids=["empty", "cut off", "zeros", "pickle", "harmful", "list", "no state", "text step", "NaN", "infinity", "huge"],
)
def test_a_damaged_checkpoint_is_one_line_and_runs_nothing(tmp_path, content, found, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "avatar.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=found):
        checkpoint.read(tmp_path / "avatar.ckpt")
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"weight": None}, "Missing key"),
        ({"weight": torch.ones(3, 2)}, "size mismatch"),
        ({"more": torch.ones(1)}, "Unexpected key"),
        ({"weight": torch.ones(2, 3, dtype=torch.float64)}, "weight of type torch.float64"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, change, found):
    module = L.LightningModule()
    module.weight, module.bias = (torch.nn.Parameter(value.clone()) for value in SMALL["state_dict"].values())
    state = {name: value for name, value in (SMALL["state_dict"] | change).items() if value is not None}
    with pytest.raises(UserError, match=found):
        checkpoint.restore(module, {**SMALL, "state_dict": state}, tmp_path / "avatar.ckpt")
    checkpoint.restore(module, SMALL, tmp_path / "avatar.ckpt")


@pytest.mark.parametrize("states", [None, [], [{}], "x"])
def test_a_fit_does_not_go_on_without_its_optimisers(tmp_path, states):
    with pytest.raises(UserError, match="no state of the optimisers"):
        checkpoint.check_optimisers({**SMALL, **STEPS, "optimizer_states": states}, tmp_path / "avatar.ckpt")


@pytest.mark.parametrize("loops", [None, {}, {"fit_loop": {}}, "x"])
def test_a_fit_does_not_go_on_without_knowing_its_step(tmp_path, loops):
    content = {**SMALL, "optimizer_states": [{"state": {}}]}
    with pytest.raises(UserError, match="no count of the steps"):
        checkpoint.check_optimisers({**content, "loops": loops}, tmp_path / "avatar.ckpt")
    checkpoint.check_optimisers({**content, **STEPS}, tmp_path / "avatar.ckpt")
