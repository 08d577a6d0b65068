"""Whole fits through the command line."""

import json
import os
import random
import signal
import time
from pathlib import Path

import av
import pytest
import torch
from PIL import Image

from talkingavatar.config.compose import compose
from talkingavatar.config.listing import group_options
from talkingavatar.config.stages import of_kind, seen_by
from talkingavatar.engine.tracking.offline import files, tracked_rows, tracked_summary
from talkingavatar.methods.thgs import SPARE
from tests.conftest import TINY, imports_first
from tests.tables.test_dashboard import metric_names
from tests.wandb_server import services, until_ended

EXPERIMENTS = group_options()["experiment"]
FEWER = {  # people than the presets have: what they say takes longer than all else
    "audio2param": ["driver.options.identities=[1]"],
    "syncnet": ["pretrained.options.identities=[1]"],
    "mesh_code": [f"pretrained.options.{size}" for size in ("performances=2", "seconds=2", "first=20", "heldout=1")],
}


def run_of(output: str) -> Path:
    last = output.strip().splitlines()[-1]
    assert last.startswith("run: ")
    return Path(last.removeprefix("run: "))


def parameters(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "avatar.ckpt", weights_only=True)["state_dict"]


def assert_same(a: Path, b: Path) -> None:
    first, second = parameters(a), parameters(b)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.fixture(scope="module")
def whole(warm, cache, tmp_path_factory) -> Path:
    """A run never stopped, of the default experiment, in the folder that its configuration gives it."""
    folder = tmp_path_factory.mktemp("whole")
    done = warm.start("fit", *TINY, "trainer.log_every=1", TALKINGAVATAR_RUNS=str(folder)).finish(300)
    assert done.returncode == 0, done.stderr
    run = run_of(done.stdout)
    assert run.parent == folder
    return run


def test_a_fit_ends_with_results_and_repeats_nothing(whole, command, tiny):
    run = whole
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["experiment"], summary["family"], summary["stages"]) == ("thgs_full", "thgs", ["avatar"])
    assert summary["status"] == "finished" and summary["wall_s"] > 0 and summary["steps_per_s"] > 0
    assert {"heldout/full/psnr", "heldout/head/ssim", "speed/end_to_end_fps"} <= summary["metrics"].keys()
    assert ("heldout/full/lpips_alex" in summary["metrics"]) != ("lpips_alex" in summary["skipped"])
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    counts = {row["step"]: row["gaussians"] for row in rows}
    grown, planted, most = counts[26], counts[40], 16_000  # density control ends at step 27
    assert counts[1] < grown <= (1 - SPARE) * most and grown < planted <= most
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps)) and steps[-1] == 40
    with av.open(str(run / "media/side_by_side.mp4")) as video:
        assert video.streams.video[0].frames == 3 and video.streams.audio
    for name in ("contact_sheet.png", "expression_sweep.png"):
        with Image.open(run / "media" / name) as image:
            assert image.size[0] > 200 and len(image.convert("L").getcolors(256) or []) > 20
    written = (run / "avatar.ckpt").stat().st_mtime_ns
    same = ["experiment=thgs_full", *tiny, "trainer.log_every=1"]
    again = command("fit", *same, TALKINGAVATAR_RUNS=str(run.parent))
    assert again.returncode == 0 and run_of(again.stdout) == run
    assert (run / "avatar.ckpt").stat().st_mtime_ns == written


@pytest.mark.parametrize("experiment", [e for e in EXPERIMENTS if e != "thgs_full"])
def test_every_preset_runs_one_step(command, experiment):
    """Of a row of an ablation what differs from the whole alone: an avatar's first step, or its drivers to the end."""
    given = FEWER.get(experiment) or own_speech_alone(experiment)
    part, code = what_differs(experiment)
    done = command("fit", f"experiment={experiment}", "debug=one_step", "tracking=none", "trainer=cpu", *given, *part)
    assert done.returncode == code, done.stderr


def what_differs(experiment: str) -> tuple[list[str], int]:
    """Arguments by which that alone is tried, and the exit code."""
    whole = f"{experiment.split('_')[0]}_full"
    if experiment == whole or whole not in EXPERIMENTS:
        return [], 0
    row, full = (compose([f"experiment={name}"]) for name in (experiment, whole))
    drivers = of_kind(row, "driver")
    if any(name not in full.stages or seen_by(row, name).driver != seen_by(full, name).driver for name in drivers):
        return [f"stages=[{','.join(drivers)}]"], 0
    return ["stages=[avatar]", "budget.steps=2", "run.stop_after=1"], 75


def own_speech_alone(experiment: str) -> list[str]:
    config = compose([f"experiment={experiment}"])
    drivers = {name: config.stages[name].driver for name in of_kind(config, "driver")}
    sections = ("driver" if own is None else f"stages.{name}.driver" for name, own in drivers.items())
    return [f"{section}.options.identities=[]" for section in sections]


def test_offline_tracking_holds_what_the_journal_holds(command, start, tiny, tmp_path):
    run = tmp_path / "tracked"
    overrides = [o for o in tiny if o != "tracking=none"]
    overrides += ["budget.steps=20", f"run.path={run}", "trainer.log_every=2", "trainer.preview_every=10"]
    process = start("fit", *overrides)
    wait_for_step(run / "metrics.jsonl", 8)
    os.kill(services(process.pid)[0], signal.SIGTERM)  # SLURM sends it to all processes
    process.kill()
    process.wait()
    until_ended(process.pid)
    done = command("fit", *overrides)
    assert done.returncode == 0, done.stderr
    assert "tracking stopped" not in done.stdout + done.stderr
    assert {file.stem for file in files(run)} == {f"run-{(run / 'wandb_id').read_text()}"} and len(files(run)) == 2
    journal = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tracked = [{k: row[k] for k in row.keys() & journal[-1].keys()} for row in tracked_rows(run) if "loss/total" in row]
    assert [row["step"] for row in journal] == list(range(2, 21, 2))
    assert tracked == [{k: row[k] for k in row.keys() & journal[-1].keys()} for row in journal]
    assert list(run.glob("wandb/offline-run-*/files/media/videos/**/*.mp4"))
    done = command("report", f"run={run}", "dashboard=true")
    assert done.returncode == 0, done.stderr
    shown = metric_names(json.loads((run / "report.wandb.json").read_text()))
    assert {"loss/total", "preview/psnr", "heldout/full/psnr", "heldout/mouth/ssim", "media/side_by_side"} <= shown
    logged = {key.removesuffix("/path") for row in tracked_rows(run) for key in row} | tracked_summary(run).keys()
    assert shown <= logged


def test_a_warning_signal_saves_and_asks_to_be_started_again(whole, command, start, tiny, tmp_path):
    overrides = [*tiny, f"run.path={tmp_path / 'warned'}", "trainer.checkpoint_every=1000", "trainer.log_every=1"]
    process = start("fit", *overrides)
    wait_for_step(tmp_path / "warned" / "metrics.jsonl", 12)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=120) == 75
    saved = torch.load(tmp_path / "warned" / "avatar.ckpt", weights_only=True)["global_step"]
    assert 12 <= saved < 40
    assert json.loads((tmp_path / "warned" / "status.json").read_text())["state"] == "preempted"
    assert command("fit", *overrides).returncode == 0
    assert_same(tmp_path / "warned", whole)


def test_killed_at_ten_random_moments_equals_never_killed(whole, command, start, tiny, tmp_path):
    moments = random.Random(0)
    overrides = [*tiny, "trainer.log_every=1", f"run.path={tmp_path / 'killed'}"]
    # Twice while it starts, eight times on its way; the sleep lands the blow anywhere in a step, a save or an import.
    for step in [0, 0, *sorted(moments.randrange(1, 36) for _ in range(8))]:
        process = start("fit", *overrides) if step else imports_first("fit", *overrides)
        wait_for_step(tmp_path / "killed" / "metrics.jsonl", step)
        time.sleep(moments.uniform(0, 0.3) if step else moments.uniform(0.5, 5))
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = command("fit", *overrides)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "killed", whole)
    first, second = (json.loads((run / "summary.json").read_text()) for run in (tmp_path / "killed", whole))
    compared = {k: v for k, v in first["metrics"].items() if not k.startswith("speed")}
    assert compared == {k: second["metrics"][k] for k in compared}


def wait_for_step(journal: Path, step: int, timeout: float = 240) -> None:
    """Until the journal has come to a step; 0 does not wait."""
    until = time.monotonic() + timeout
    while step > last_step(journal):
        assert time.monotonic() < until, f"no step {step} in {journal}"
        time.sleep(0.01)


def last_step(journal: Path) -> int:
    lines = journal.read_text().splitlines() if journal.is_file() else []
    whole = [line for line in lines if line.endswith("}")]
    return json.loads(whole[-1])["step"] if whole else 0
