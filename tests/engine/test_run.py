import json
import os
import signal
from pathlib import Path

import pytest

from talkingavatar.config.compose import compose
from talkingavatar.engine.fitted import load_run
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.errors import UserError
from talkingavatar.runtime.signals import Preempted, stop_flag


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_the_same_configuration_opens_the_same_directory(runs):
    first = RunDirectory.open(compose(["seed=1"]))
    again = RunDirectory.open(compose(["seed=1", "trainer.progress=false"]))
    other = RunDirectory.open(compose(["seed=2"]))
    assert first.path == again.path != other.path
    assert first.path.parent == runs


def test_it_says_how_it_was_made():
    run = RunDirectory.open(compose([]))
    starts = json.loads((run.path / "provenance.json").read_text())
    RunDirectory.open(compose([]))
    assert len(json.loads((run.path / "provenance.json").read_text())) == 2
    assert {"command", "commit", "device", "torch"} <= starts[0].keys()
    assert "numpy==" in (run.path / "packages.txt").read_text()


def test_another_configuration_in_the_same_folder_is_refused(tmp_path):
    folder = tmp_path / "mine"
    RunDirectory.open(compose([f"run.path={folder}", "seed=1"]))
    with pytest.raises(UserError, match=r"another seed"):
        RunDirectory.open(compose([f"run.path={folder}", "seed=2"]))
    (folder / "avatar.ckpt").write_text("old")
    run = RunDirectory.open(compose([f"run.path={folder}", "seed=2", "run.fresh=true"]))
    assert not run.checkpoint("avatar").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"run.path"):
        RunDirectory.open(compose([f"run.path={tmp_path / 'file' / 'run'}"]))


def test_logged_steps_that_will_be_repeated_are_forgotten():
    run = RunDirectory.open(compose([]))
    for step in (10, 20, 30):
        run.log(step, {"loss": 1 / step})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # cut off by a kill
    run.truncate_metrics(20)
    steps = [json.loads(line)["step"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [10, 20]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM])
def test_a_warning_signal_only_sets_the_flag(number):
    before = signal.getsignal(number)
    with stop_flag() as flag:
        flag.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Preempted):
            flag.check()
    assert signal.getsignal(number) == before


def test_status_is_replaced_whole():
    run = RunDirectory.open(compose([]))
    run.status("running", step=3)
    run.status("finished", step=9)
    assert json.loads((run.path / "status.json").read_text())["state"] == "finished"
    assert not list(Path(run.path).glob("*.tmp"))


def test_a_run_of_another_schema_is_neither_continued_nor_loaded(tmp_path):
    """`fit`, `drive` and `evaluate` open runs so."""
    config = compose([f"run.path={tmp_path / 'run'}"])
    run = RunDirectory.open(config)
    text = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(text.replace("schema: 1\n", ""))
    run.checkpoint("avatar").write_text("")
    for attempt in (lambda: RunDirectory.open(config), lambda: load_run(run.path)):
        with pytest.raises(UserError, match=r"a configuration of no schema; expected schema 1; fit it anew"):
            attempt()
    RunDirectory.open(compose([f"run.path={run.path}", "run.fresh=true"]))
