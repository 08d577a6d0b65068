"""A fit shared by several processes: the same as by one, stopped and killed as one."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from talkingavatar.engine.run.directory import RunDirectory
from tests.conftest import TINY, cold

SMALL = [
    "experiment=audio2param", "data.seconds=4", "data.size=64", "driver.step_cost=50", "tracking=none",
    "driver.options.identities=[]", "driver.options.windows=4", "driver.options.length=24", "driver.options.width=16",
    "driver.options.dropout=0", "trainer.checkpoint_every=5", "trainer.log_every=1", "trainer.progress=false",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.threads=1"]


def losses(run):
    rows, _ = RunDirectory(run).rows()
    return {row["step"]: row["driver/loss/total"] for row in rows}


@pytest.fixture(scope="module")
def alone(warm, tmp_path_factory):
    """The run of one process."""
    run = tmp_path_factory.mktemp("alone")
    done = warm.start("fit", *SMALL, f"run.path={run}").finish(300)
    assert done.returncode == 0, done.stderr
    return run


def test_two_processes_train_as_one_with_the_doubled_batch(alone, command, tmp_path):
    """Stopped in between, and continued."""
    done = command("fit", *SMALL, *TWO, f"run.path={tmp_path}", "run.stop_after=9")
    assert done.returncode == 75, done.stderr
    done = cold("fit", *SMALL, *TWO, f"run.path={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: ") == 1
    one, two = losses(alone), losses(tmp_path)
    assert list(two) == list(range(1, 25))
    assert two == pytest.approx(one, rel=1e-3)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "driver/opening_r/tracked" in summary["metrics"]


def leading(start, run):
    process = start("fit", *SMALL, *TWO, "stages.driver.steps=4000", f"run.path={run}")
    deadline = time.monotonic() + 120
    while not (run / "driver.ckpt").is_file():
        assert process.poll() is None and time.monotonic() < deadline, process.finish(0)
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (follower,) = [int(c) for c in children if "talkingavatar.fit" in Path(f"/proc/{c}/cmdline").read_text()]
    return process, follower


def gone(process):
    """Waits until a process is no more."""
    deadline = time.monotonic() + 30
    while (status := Path(f"/proc/{process}/status")).is_file() and "zombie" not in status.read_text():
        assert time.monotonic() < deadline, f"{process} runs on"
        time.sleep(0.1)


def test_a_signal_to_one_process_saves_and_ends_all(start, tmp_path):
    process, follower = leading(start, tmp_path)
    os.kill(follower, signal.SIGUSR1)
    done = process.finish(60)
    assert done.returncode == 75, done.stderr
    assert "saved; start the same command again" in done.stdout
    gone(follower)
    step = torch.load(tmp_path / "driver.ckpt", weights_only=True)["global_step"]
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "preempted"
    assert max(losses(tmp_path)) == step


def test_none_is_left_when_one_is_killed(start, tmp_path):
    process, follower = leading(start, tmp_path)
    os.kill(follower, signal.SIGKILL)
    assert process.wait(90) not in (0, 75)
    torch.load(tmp_path / "driver.ckpt", weights_only=True)


def test_two_processes_fit_an_avatar_as_one_with_all_frames(command, tmp_path):
    """The same Gaussians in the same order with the same parents, through clone and split; stopped in between."""
    # The count changes after step 10 by growth, after 11 and 12 by what is planted.
    steps = ["budget.steps=14", "budget.frames_per_step=2", "density.stop=118000"]
    fit = ["experiment=thgs_full", *TINY, *steps, "trainer.progress=false"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert command("fit", *fit, "trainer.threads=1", f"run.path={one}").returncode == 0
    done = command("fit", *fit, *TWO, f"run.path={two}", "run.stop_after=9")
    assert done.returncode == 75, done.stderr
    done = command("fit", *fit, *TWO, f"run.path={two}")
    assert done.returncode == 0, done.stderr
    alone, shared = (torch.load(run / "avatar.ckpt", weights_only=True)["state_dict"] for run in (one, two))
    assert len(alone["carried_parent"]) > len(alone["carried_parent"].unique())
    assert alone.keys() == shared.keys()
    for name, values in alone.items():
        torch.testing.assert_close(shared[name], values, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(
    ("overrides", "environment", "message"),
    [
        (["experiment=thgs_full", "trainer=ddp"], {}, "budget.frames_per_step: found 1; expected a multiple of 2"),
        (["experiment=gaussianheadtalk_full", "trainer=ddp"], {}, "stages: found 2 stages for 2 processes"),
        (["experiment=syncnet", "trainer=ddp"], {}, "trainer.devices: found 2 processes; expected 1"),
        (["trainer=ddp", "driver.options.windows=3"], {}, "driver.options.windows: found 3; expected a multiple of 2"),
        (["trainer=ddp", "trainer.nodes=2"], {}, "trainer.nodes: found 2 machines"),
        (["trainer=ddp"], {"SLURM_STEP_NUM_TASKS": "3"}, "3 processes in all"),
        (["trainer.devices=0"], {}, "trainer.devices: found 0; expected 1 to"),
    ],
)
def test_what_cannot_be_shared_is_refused(command, overrides, environment, message):
    done = command("fit", *SMALL, "trainer.accelerator=cpu", *overrides, **environment)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
