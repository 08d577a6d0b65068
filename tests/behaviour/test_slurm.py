"""A sweep on a real SLURM, one machine with three nodes: preempted, killed, a node lost, mended."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from tests.behaviour.test_processes import SMALL, losses

CLUSTER = Path(__file__).parents[2] / "slurm" / "devcluster"
WAIT = 300.0  # seconds for any one thing to happen


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    for first in range(26800, 60000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as tried:
                    tried.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise OSError("no free ports")


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """Environment in which SLURM's programs reach the cluster."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    if missing := [name for name in ("sbatch", "slurmctld", "slurmd", "munged") if not shutil.which(name, path=path)]:
        pytest.skip(f"no {', '.join(missing)}: `slurm/devcluster install` installs SLURM")
    # Sockets have short paths: pytest's own folder may be too deep.
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        environment = os.environ | {
            "TALKINGAVATAR_DEVCLUSTER": folder, "PORT": str(free_ports(10)), "DEAD_AFTER": "6", "PATH": path,
            "SLURM_CONF": f"{folder}/slurm.conf",
        }  # fmt: skip
        try:
            subprocess.run([CLUSTER, "up"], env=environment, check=True, timeout=60)
            yield environment
        finally:
            subprocess.run([CLUSTER, "down"], env=environment, check=False, timeout=60)


@pytest.fixture(scope="module")
def captures(tmp_path_factory, cache) -> Path:
    """A folder with the tiny captures of two people, `ada` and `ben`."""
    from talkingavatar.config.compose import compose
    from talkingavatar.engine.build import build_data

    folder = tmp_path_factory.mktemp("people")
    for identity, name in enumerate(("ada", "ben")):
        config = compose(["data.seconds=2", "data.size=64", f"data.identity={identity}", "trainer.progress=false"])
        shutil.copytree(build_data(config).capture.folder, folder / name)
    return folder


def write_sweep(file: Path, values: dict[str, list[object]]) -> None:
    content = {
        "program": "talkingavatar.fit",
        "method": "grid",
        "parameters": {key: {"values": each} for key, each in values.items()},
        "command": ["${env}", "${interpreter}", "-m", "${program}", "${args_no_hyphens}"],
    }
    file.write_text(yaml.safe_dump(content))


@pytest.fixture
def sweep(cluster, captures, tmp_path, tiny):
    """Runs `python -m talkingavatar.sweep` beside a sweep file over six people, the last of whom is missing."""
    (tmp_path / "captures").mkdir()
    for name, person in (("a1", "ada"), ("b1", "ben"), ("a2", "ada"), ("b2", "ben"), ("a3", "ada")):
        (tmp_path / "captures" / name).symlink_to(captures / person)
    paths = [f"captures/{name}" for name in ("a1", "b1", "a2", "b2", "a3", "lost")]
    write_sweep(tmp_path / "people.yaml", {"data.path": paths})
    environment = cluster | {"TALKINGAVATAR_RUNS": str(tmp_path / "runs")}
    fixed = [*tiny, "data=capture", "trainer.log_every=1", "trainer.checkpoint_every=7"]

    def run(action: str, *arguments: str) -> str:
        if action == "submit":
            arguments = (*arguments, *fixed, "launcher=slurm", "profile=devcluster", f"profile.scratch={tmp_path}/disk")
        done = subprocess.run(
            [sys.executable, "-m", "talkingavatar.sweep", action, "people.yaml", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def slurm(cluster: dict[str, str], *words: str) -> str:
    return subprocess.run(words, env=cluster, capture_output=True, text=True, timeout=30, check=True).stdout


def until(what: Callable[[], object], wait: float = WAIT) -> None:
    end = time.monotonic() + wait
    while not what():
        assert time.monotonic() < end, f"not within {wait} s: {what.__doc__ or what}"
        time.sleep(0.1)


def step(run: Path) -> int:
    journal = run / "metrics.jsonl"
    lines = journal.read_text().splitlines() if journal.is_file() else []
    return json.loads(lines[-1])["step"] if lines and lines[-1].endswith("}") else 0


def attempts(runs: Path, name: str) -> list[str]:
    """What happened to a run: `start`, `exit 75` ..."""
    file = runs / "_launch/attempts" / name
    lines = file.read_text().splitlines() if file.is_file() else []
    return [" ".join(line.split()[: 2 if line.startswith("exit") else 1]) for line in lines]


def task(cluster: dict[str, str], runs: Path, name: str) -> tuple[str, str]:
    """SLURM's own number of a run, and the node it is on."""
    jobs = json.loads((runs / "_launch/submissions/1/job.json").read_text())
    array = f"{jobs['id']}_{jobs['jobs'].index(name)}"
    number, node = slurm(cluster, "squeue", "-h", "-j", array, "-o", "%A %N").split()
    return number, node


def pid(run: Path) -> int:
    """The process of a fit: not srun's, whose words are the same behind its own."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"run.path={run}".encode() in words and b"python" in words[0]:
                return int(folder.name)
    raise AssertionError(f"no process for {run}")


def parameters(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "avatar.ckpt", weights_only=True)["state_dict"]


def assert_same(a: Path, b: Path) -> None:
    first, second = parameters(a), parameters(b)
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def test_a_sweep_outlives_what_a_cluster_does_to_it(cluster, sweep, tmp_path):
    assert "submitted 6 runs" in sweep("submit")
    runs = tmp_path / "runs" / "people"
    names = {name: f"path-{name}" for name in ("a1", "b1", "a2", "b2", "a3", "lost")}
    until(lambda: step(runs / names["a1"]) >= 3)
    # scancel of 22.05 delivers it, is told that the array "can not be altered now", and would try for minutes.
    warn = ["timeout", "2", "scancel", "--signal=USR1", task(cluster, runs, names["a1"])[0]]
    subprocess.run(warn, env=cluster, check=False, timeout=30)
    until(lambda: step(runs / names["b1"]) >= 3)
    os.kill(pid(runs / names["b1"]), 9)
    until(lambda: step(runs / names["a2"]) >= 3)
    _, node = task(cluster, runs, names["a2"])
    subprocess.run([CLUSTER, "fail", node], env=cluster, check=True, timeout=30)
    until(lambda: step(runs / names["b2"]) >= 3)
    slurm(cluster, "scontrol", "requeue", task(cluster, runs, names["b2"])[0])
    told = sweep("status")
    assert "6 runs" in told and ("preempted" in told or "running" in told)
    until(lambda: not slurm(cluster, "squeue", "-h"))

    told = sweep("status")
    assert "5 done, 1 failed" in told
    failed = told.splitlines()[0]
    assert failed.startswith("path-lost") and "found captures/lost: no such folder" in failed
    happened = {name: attempts(runs, full) for name, full in names.items()}
    assert happened["a1"] == ["start", "exit 75", "start", "exit 0"]
    assert happened["b1"] == ["start", "exit 137", "start", "exit 0"]
    assert happened["a2"] == ["start", "start", "exit 0"]
    assert happened["b2"] == ["start", "exit 75", "start", "exit 0"]
    assert happened["a3"] == ["start", "exit 0"]
    assert happened["lost"] == ["start", "exit 2"]
    assert (tmp_path / "disk/talkingavatar/captures/a1/capture.json").is_file()
    for name in ("a1", "a2"):
        assert_same(runs / names[name], runs / names["a3"])
    assert_same(runs / names["b1"], runs / names["b2"])

    (tmp_path / "captures/lost").symlink_to(tmp_path / "captures/b1")
    sweep("retry")
    until(lambda: not slurm(cluster, "squeue", "-h"))
    assert sweep("status").splitlines()[-1].startswith("6 done")
    assert attempts(runs, "path-lost") == ["start", "exit 0"]  # the one undisturbed run of ben
    assert_same(runs / names["b1"], runs / names["lost"])
    sweep("submit")
    assert not slurm(cluster, "squeue", "-h")
    assert len(list((runs / "_launch/submissions").iterdir())) == 2


def test_a_cancelled_sweep_saves_and_stays_cancelled(cluster, sweep, tmp_path):
    sweep("submit", "data.path=captures/a1", "budget.steps=2000")
    run = tmp_path / "runs/people/path-a1"
    until(lambda: step(run) >= 2)
    assert "cancelled 1 runs" in sweep("cancel")
    until(lambda: not slurm(cluster, "squeue", "-h"))
    assert attempts(tmp_path / "runs/people", "path-a1") == ["start", "exit 75"]
    assert torch.load(run / "avatar.ckpt", weights_only=True)["global_step"] >= 2
    assert "1 preempted" in sweep("status")


def test_a_driver_trains_on_two_nodes(cluster, warm, tmp_path):
    """As one process would, warned in between: both nodes save, and both go on."""
    small = [*SMALL, "stages.driver.steps=120", "trainer.accelerator=cpu"]
    write_sweep(tmp_path / "driver.yaml", {"seed": [0]})
    environment = cluster | {"TALKINGAVATAR_RUNS": str(tmp_path / "runs")}
    # The nodes' names stand for one machine, and no address.
    profile = ["profile=devcluster", "profile.nodes=2", "profile.setup=[export MASTER_ADDR=127.0.0.1]"]
    words = [sys.executable, "-m", "talkingavatar.sweep", "driver.yaml", "launcher=slurm", *profile, *small]
    subprocess.run(words, cwd=tmp_path, env=environment, check=True, timeout=120)
    run = tmp_path / "runs/driver/seed0"
    until(lambda: step(run) >= 3)
    number, nodes = task(cluster, tmp_path / "runs/driver", "seed0")
    assert nodes == "n[1-2]"
    subprocess.run(["timeout", "2", "scancel", "--signal=USR1", number], env=cluster, check=False, timeout=30)
    until(lambda: not slurm(cluster, "squeue", "-h"))
    assert attempts(tmp_path / "runs/driver", "seed0") == ["start", "exit 75", "start", "exit 0"]
    alone = warm.start("fit", *small, f"run.path={tmp_path / 'alone'}").finish(300)
    assert alone.returncode == 0, alone.stderr
    shared, one = losses(run), losses(tmp_path / "alone")
    assert list(shared) == list(one) == list(range(1, 121))
    for number, loss in one.items():  # sums of other order drift apart with the steps
        near = 1e-3 if number <= 30 else 0.1
        assert shared[number] == pytest.approx(loss, rel=near)
