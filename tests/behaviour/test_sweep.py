"""A sweep on this machine: every run finishes whatever happens to the launcher, and none runs twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from talkingavatar.launch.folder import SweepFolder

COMMAND = ["${env}", "${interpreter}", "-m", "${program}", "${args_no_hyphens}"]


def write_sweep(file: Path, parameters: dict, **more: object) -> Path:
    content = {"program": "talkingavatar.fit", "method": "grid", "parameters": parameters, "command": COMMAND}
    file.write_text(yaml.safe_dump(content | more))
    return file


@pytest.fixture(scope="session")
def person(cache) -> Path:
    """A tiny embedded capture, made once."""
    from talkingavatar.config.compose import compose
    from talkingavatar.engine.build import build_data

    config = compose(["data.seconds=2", "data.size=64", "trainer.progress=false"])
    return build_data(config).capture.folder


def until(what: Callable[[], object], wait: float = 300.0) -> None:
    end = time.monotonic() + wait
    while not what():
        assert time.monotonic() < end, f"not within {wait} s"
        time.sleep(0.05)


def step(run: Path) -> int:
    journal = run / "metrics.jsonl"
    lines = journal.read_text().splitlines() if journal.is_file() else []
    return json.loads(lines[-1])["step"] if lines and lines[-1].endswith("}") else 0


def attempts(sweep: Path, name: str) -> list[str]:
    """What happened to a run: `start`, `exit 75` ..."""
    lines = (sweep / "_launch/attempts" / name).read_text().splitlines()
    return [" ".join(line.split()[: 2 if line.startswith("exit") else 1]) for line in lines]


def pid(sweep: Path, name: str) -> int:
    return int((sweep / "_launch/attempts" / name).read_text().splitlines()[-1].split()[-1])


def assert_same(a: Path, b: Path) -> None:
    first, second = (torch.load(run / "avatar.ckpt", weights_only=True)["state_dict"] for run in (a, b))
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def test_a_failing_run_stops_no_other_and_is_mended_by_retry(command, tiny, tmp_path, person):
    (tmp_path / "there").symlink_to(person)
    people = [str(tmp_path / "lost"), str(tmp_path / "there")]
    file = write_sweep(tmp_path / "people.yaml", {"data.path": {"values": people}})
    arguments = [*tiny, "data=capture", "budget.steps=12"]
    runs = tmp_path / "runs" / "people"
    done = command("sweep", str(file), *arguments)
    assert done.returncode == 1, done.stderr
    assert "path-there: done" in done.stderr and "path-lost: failed: data.path" in done.stderr
    told = command("sweep", "status", str(file)).stdout
    assert told.splitlines()[0].startswith("path-lost") and "no such folder" in told.splitlines()[0]
    assert told.splitlines()[-1].startswith("1 done, 1 failed")

    again = command("sweep", str(file), *arguments)
    assert again.returncode == 0 and "1 failed before: `retry`" in again.stdout
    assert attempts(runs, "path-there") == ["start", "exit 0"] and attempts(runs, "path-lost") == ["start", "exit 2"]

    (tmp_path / "lost").symlink_to(person)
    mended = command("sweep", "retry", str(runs))
    assert mended.returncode == 0 and "2 done" in mended.stdout, mended.stderr
    assert attempts(runs, "path-there") == ["start", "exit 0"]
    record = json.loads((runs / "sweep.json").read_text())
    starts = json.loads((runs / "path-there/provenance.json").read_text())
    if record["commit"]:
        assert starts[0]["commit"] == record["commit"]
        assert (runs / "_launch/code/1/talkingavatar/fit.py").is_file()
    assert yaml.safe_load((runs / "path-there/config.yaml").read_text())["tracking"]["group"] == "people"


def test_a_sweep_outlives_its_launcher(command, tiny, tmp_path):
    file = write_sweep(tmp_path / "two.yaml", {"seed": {"values": [0, 1]}})
    arguments = [str(file), *tiny, "trainer.log_every=1", "data.identity=0", "jobs=2", "budget.steps=250"]
    runs = tmp_path / "runs" / "two"
    environment = os.environ | {"TALKINGAVATAR_RUNS": str(tmp_path / "runs")}

    def launch() -> subprocess.Popen:
        words = [sys.executable, "-m", "talkingavatar.sweep", *arguments]
        return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    launcher = launch()
    until(lambda: step(runs / "seed0") >= 3 and step(runs / "seed1") >= 3)
    launcher.kill()
    launcher.wait()
    again = command("sweep", *arguments)
    assert again.returncode == 0 and again.stdout.startswith("2 running"), again.stderr
    assert attempts(runs, "seed0") == attempts(runs, "seed1") == ["start"]
    assert "told 2 runs" in command("sweep", "cancel", str(file)).stdout
    until(lambda: "2 preempted" in command("sweep", "status", str(file)).stdout)

    launcher = launch()
    until(lambda: attempts(runs, "seed0").count("start") == 2)
    os.kill(pid(runs, "seed0"), signal.SIGKILL)
    until(lambda: attempts(runs, "seed0").count("start") == 3)
    launcher.send_signal(signal.SIGINT)
    ended = launcher.wait(timeout=300)
    over = all(attempts(runs, seed)[-1] == "exit 0" for seed in ("seed0", "seed1"))
    assert ended == (0 if over else 75), "a machine under load may finish both before the signal comes"

    done = command("sweep", *arguments)
    assert done.returncode == 0 and "2 done" in done.stdout, done.stderr
    assert attempts(runs, "seed0")[-2:] == ["start", "exit 0"] and "exit 137" in attempts(runs, "seed0")
    plain = [a for a in arguments[1:] if not a.startswith("jobs=")]
    whole = command("fit", *plain, "seed=0", f"run.path={tmp_path / 'whole'}", "trainer.threads=1")
    assert whole.returncode == 0, whole.stderr
    assert_same(runs / "seed0", tmp_path / "whole")


@pytest.mark.parametrize(
    ("parameters", "arguments", "expected"),
    [
        ({"data.sise": {"values": [64]}}, [], "did you mean data.size"),
        ({"experiment": {"values": ["thgs_full", "thgs_ful"]}}, [], "did you mean thgs_full"),
        ({"driver.options.width": {"values": [64, "wide"]}}, [], "driver.options.width: found 'wide'"),
        ({"data.fps": {"values": [25, "many"]}}, [], "data.fps"),
        ({"data.fps": {"values": [25, 3]}}, [], "data.fps: found 3; expected 10 to 240"),
        ({"seed": {"values": [0]}}, ["buget=quick"], "did you mean budget"),
        ({"seed": {"values": []}}, [], "an empty grid"),
        ({"seed": {"values": [0]}}, ["seed="], "seed"),
        ({"seed": {"values": [0]}}, ["launcher=slrum"], "did you mean slurm"),
        ({"seed": {"values": [0]}}, ["launcher=slurm", "profile=mine", "dry=true"], "profile: found mine"),
        ({"seed": {"values": [0]}}, ["launcher=slurm", "profile.tme=1:00:00", "dry=true"], "did you mean time"),
        ({"seed": {"values": [0]}}, ["launcher=slurm", "profile.time=60", "dry=true"], "hours:minutes:seconds"),
        ({"seed": {"values": [0]}}, ["another.yaml"], "one sweep file"),
        ({"seed": {"values": list(range(1000))}, "data.seed": {"values": list(range(1000))}}, [], "1,000,000 runs"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(command, tmp_path, parameters, arguments, expected):
    file = write_sweep(tmp_path / "wrong.yaml", parameters)
    refused(command("sweep", str(file), *arguments), expected)
    assert not (tmp_path / "runs").exists()


def refused(done: subprocess.CompletedProcess, *expected: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    for text in expected:
        assert text in done.stderr


def test_no_file_no_sweep_no_submission(command, tmp_path):
    refused(command("sweep", str(tmp_path / "none.yaml")), "no such file")
    (tmp_path / "broken.yaml").write_text("parameters: {seed: [")
    refused(command("sweep", str(tmp_path / "broken.yaml")), "broken.yaml")
    refused(command("sweep", "status", str(tmp_path)), "submit it first")


def test_no_sbatch_on_path(command, tmp_path):
    file = write_sweep(tmp_path / "one.yaml", {"seed": {"values": [0]}})
    git = shutil.which("git")
    (tmp_path / "bin").mkdir()
    if git:
        (tmp_path / "bin/git").symlink_to(git)
    done = command("sweep", str(file), "launcher=slurm", PATH=str(tmp_path / "bin"))
    refused(done, "no sbatch on PATH", "launcher=local")


def test_one_launcher_at_a_time(command, tmp_path):
    file = write_sweep(tmp_path / "one.yaml", {"seed": {"values": [0]}})
    lock = SweepFolder(tmp_path / "runs" / "one").lock()
    assert lock is not None
    refused(command("sweep", str(file)), "a launcher, or runs it left behind", "cancel")
    os.close(lock)


def test_a_sweep_edited_after_its_submission(command, tmp_path, tiny):
    file = write_sweep(tmp_path / "one.yaml", {"data.path": {"values": [str(tmp_path / "lost")]}})
    assert command("sweep", str(file), *tiny, "data=capture").returncode == 1
    write_sweep(file, {"data.path": {"values": [str(tmp_path / "lost"), str(tmp_path / "more")]}})
    refused(command("sweep", str(file), *tiny, "data=capture"), "1 runs added since it was submitted", "force=true")
    refused(command("sweep", str(file), *tiny, "data=capture", "budget.steps=3"), "1 runs changed", "force=true")
    dry = command("sweep", str(file), *tiny, "data=capture", "force=true", "dry=true")
    assert "would start 1 runs" in dry.stdout and "1 failed before" in dry.stdout
    fresh = command("sweep", str(file), *tiny, "data=capture", "fresh=true", "dry=true")
    assert "would start 2 runs" in fresh.stdout
