"""W&B offline, by its own files: each row of the journal once, whatever is killed, and no trouble of its ends a fit."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
import wandb

from talkingavatar.config.compose import compose
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.tracking.offline import files, mend, records, tracked_rows, tracked_summary
from talkingavatar.engine.tracking.tracker import Tracker, track_results
from tests.wandb_server import services, until_ended

WORKER = """
import os, sys
from pathlib import Path
from talkingavatar.config.compose import compose
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.tracking.tracker import Tracker

folder, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = compose([f"run.path={folder}"])
run = RunDirectory(Path(folder))
tracker = Tracker(config, run)
run.truncate_metrics(first - 1)
for step in range(first, last + 1):
    run.log(step, {"loss/total": 1 / step, "preview/psnr": 20.0 + step})
    tracker.follow()
print("logged", flush=True)
sys.stdin.readline()
tracker.close()
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A run directory and its configuration; not logged in."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = compose([f"run.path={tmp_path / 'run'}"])
    yield config, RunDirectory.open(config)
    end_service()


def end_service() -> None:
    """End W&B's process beside ours, as the end of a fit does."""
    with suppress(OSError):
        wandb.teardown()


def work(run: RunDirectory, first: int, last: int) -> subprocess.Popen:
    """A process that has logged these steps and waits, its W&B beside it."""
    words = [sys.executable, "-c", WORKER, str(run.path), str(first), str(last)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None and process.stdout.readline() == b"logged\n"
    return process


def journal(run: RunDirectory) -> list[dict]:
    return run.rows()[0]


def tracked(run: RunDirectory) -> list[dict]:
    """Rows of the journal as W&B has them: without what it adds itself, and without the table at the end."""
    end_service()  # it may still write
    rows = [{k: v for k, v in row.items() if not k.startswith(("_", "table/"))} for row in tracked_rows(run.path)]
    return [row for row in rows if "loss/total" in row]


def resume(config, run: RunDirectory, first: int, last: int) -> None:
    """Another start that goes on after step `first - 1` and comes to its end."""
    tracker = Tracker(config, run)
    run.truncate_metrics(first - 1)
    for step in range(first, last + 1):
        run.log(step, {"loss/total": 1 / step, "preview/psnr": 20.0 + step})
        tracker.follow()
    tracker.finish(last, [], [{"held-out": "full", "PSNR": 30.0}], {"heldout/full/psnr": 30.0})
    end_service()  # the end of a fit


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("both", [True, False], ids=["both", "fit"])
def test_rows_that_a_signal_cost_are_logged_by_the_next_start(opened, number, both):
    """`both`: W&B's process gets the signal too, as SLURM sends it; then most rows are lost with it."""
    config, run = opened
    process = work(run, 1, 20)
    if both:
        os.kill(services(process.pid)[0], number)
    process.send_signal(number)
    process.wait(timeout=60)
    until_ended(process.pid)
    lost = len(tracked(run)) < 20
    assert lost or not both
    resume(config, run, 15, 30)  # the checkpoint was at step 14
    assert [row["step"] for row in journal(run)] == list(range(1, 31))
    assert tracked(run) == journal(run)
    assert len({file.name for file in files(run.path)}) == 1 < len(files(run.path))


def test_a_run_killed_over_and_over(opened):
    config, run = opened
    for first, last in ((1, 4), (3, 6), (5, 8), (9, 9)):
        process = work(run, first, last)
        os.kill(services(process.pid)[0], signal.SIGKILL if first % 3 else signal.SIGTERM)
        process.kill()
        process.wait(timeout=60)
        until_ended(process.pid)
    resume(config, run, 9, 12)
    assert tracked(run) == journal(run) and len(journal(run)) == 12


def test_a_break_within_a_fit_is_made_up_for_at_its_end(opened, caplog):
    config, run = opened
    tracker = Tracker(config, run)
    for step in range(1, 41):
        if step == 11:
            os.kill(services(os.getpid())[0], signal.SIGKILL)
            until_ended(os.getpid())
        run.log(step, {"loss/total": 1 / step, "preview/psnr": 20.0 + step})
        tracker.follow()
    assert tracker.wandb_run is None and "tracking stopped" in caplog.text
    tracker.finish(40, [], [{"held-out": "full", "PSNR": 30.0}], {"heldout/full/psnr": 30.0})
    assert tracked(run) == journal(run) and len(journal(run)) == 40
    assert any("table" in "".join(row) for row in tracked_rows(run.path))


def test_a_run_that_was_never_tracked_is_logged_whole_when_it_is(opened):
    config, run = opened
    for step in (10, 20, 30):
        run.log(step, {"loss/total": 1 / step, "nan": float("nan")})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # cut off by a kill
    Tracker(config, run).finish(30, [], [], {})
    assert [(row["step"], row["loss/total"]) for row in tracked(run)] == [(10, 0.1), (20, 0.05), (30, 1 / 30)]


def test_what_is_measured_after_the_fit_joins_the_summary(opened):
    config, run = opened
    track_results(config, run, "full", {"sync/md": 7.0})
    assert not (run.path / "wandb_id").exists(), "a run that was not tracked stays so"
    resume(config, run, 1, 5)
    run.log(6, {"loss/total": 0.5})
    track_results(config, run, "full", {"sync/md": 7.5})
    end_service()
    summary = tracked_summary(run.path)
    assert summary["evaluate/full/sync/md"] == 7.5 and summary["heldout/full/psnr"] == 30.0
    assert [row["step"] for row in tracked(run)] == [1, 2, 3, 4, 5, 6], "what W&B lacked"


def test_a_folder_that_cannot_be_written_ends_nothing(opened, tmp_path, monkeypatch):
    config, run = opened
    (run.path / "wandb").write_text("a file where W&B's folder should be")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    resume(config, run, 1, 5)
    assert len(journal(run)) == 5


@pytest.fixture
def full_disk(opened):
    """W&B's folder on a disk of its own without room."""
    _, run = opened
    (run.path / "wandb").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(run.path / "wandb")], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    (run.path / "wandb/ballast").write_bytes(bytes(40_000))
    yield run.path / "wandb"
    subprocess.run(["umount", "-l", str(run.path / "wandb")], check=True)


def test_a_full_disk_ends_nothing_and_is_made_up_for(opened, full_disk):
    config, run = opened
    resume(config, run, 1, 400)
    assert len(journal(run)) == 400 > len(tracked(run))
    (full_disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(full_disk)], check=True)
    resume(config, run, 401, 402)
    assert sorted(tracked(run), key=lambda row: row["step"]) == journal(run)


def test_a_torn_file_is_cut_where_its_last_whole_record_ends(opened):
    config, run = opened
    resume(config, run, 1, 300)
    (file,) = files(run.path)
    content = file.read_bytes()
    ends = [end for _, end in records(file)]
    assert ends[-1] == len(content) > 40_000, "several blocks"
    for cut in (ends[-1] - 1, ends[-3] + 3, 33_000):
        file.write_bytes(content[:cut])
        assert mend(file)
        kept = max(end for end in ends if end <= cut)
        assert file.read_bytes() == content[:kept]
        assert mend(file) and len(file.read_bytes()) == kept
    file.write_bytes(content[:10_000] + b"\0" + content[10_001:])
    assert 0 < len(list(records(file))) < len(ends)
    file.write_bytes(content[:7])
    assert not mend(file)


def test_the_journal_is_read_on_from_where_it_was_left(opened):
    _, run = opened
    assert run.rows() == ([], 0)
    run.log(1, {"a": 0.1})
    rows, end = run.rows()
    assert rows == [{"step": 1, "a": 0.1}] and end == (run.path / "metrics.jsonl").stat().st_size
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 2}))
    assert run.rows(end) == ([], end)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write("\n")
    assert run.rows(end)[0] == [{"step": 2}]
