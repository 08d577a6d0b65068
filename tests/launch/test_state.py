"""How a run stands, from what lies on disk; a thousand of them, without torch."""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time

import pytest

from talkingavatar.errors import UserError
from talkingavatar.launch.expansion import expand
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.state import KILLS, states
from talkingavatar.launch.submit import launched_with
from talkingavatar.launch.sweep_file import read_sweep
from talkingavatar.launch.table import status_table

FILE = """
program: talkingavatar.fit
method: grid
parameters:
  experiment: {values: [thgs_full, thgs_vanilla, thgs_wo_leb, thgs_wo_saam, thgs_wo_joint]}
  seed: {values: [%s]}
command: ["${env}", "${interpreter}", -m, "${program}", "${args_no_hyphens}"]
"""


SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


def write_file(folder, seeds):
    (folder / "tried.yaml").write_text(FILE % ", ".join(map(str, range(seeds))))
    return folder / "tried.yaml"


@pytest.fixture
def submitted(tmp_path):
    """A sweep folder with five runs, frozen and not started."""
    sweep = read_sweep(write_file(tmp_path, 1))
    folder = SweepFolder(tmp_path / "runs" / "tried")
    folder.freeze(sweep, expand(sweep), {}, force=False)
    return folder


def write_run(folder, job, state, step=0, steps=40, **facts):
    run = folder.run(job)
    run.mkdir()
    (run / "status.json").write_text(json.dumps({"state": state, "step": step, "steps": steps, **facts}))
    row = {"step": step, "loss/total": 0.1, "steps_per_s": 4.0}
    (run / "metrics.jsonl").write_text(json.dumps(row) + '\n{"step": 3, "cut o')
    return run


def test_what_a_sweep_was_submitted_with_is_believed_if_it_is_whole(submitted):
    """Else runs of a cluster would start here: whoever says which launcher goes on."""
    noted = {"launcher": "slurm", "profile": "default", "jobs": 3, "host": "h", "pid": 4}
    file = submitted.launch / "launcher.json"
    assert launched_with(submitted, named=False) == launched_with(submitted, named=True)
    assert launched_with(submitted, named=False)["launcher"] == "local"
    file.write_text(json.dumps(noted))
    assert launched_with(submitted, named=False) == noted
    bad = [{"launcher": None}, {"launcher": "cloud"}, {"profile": 3}, {"jobs": 0}, {"jobs": "3"}, {"jobs": True}]
    for change in (*bad, {"host": []}, {"pid": 1e400}):
        file.write_text(json.dumps(noted | change))
        with pytest.raises(UserError, match="launcher=local or launcher=slurm"):
            launched_with(submitted, named=False)
        assert launched_with(submitted, named=True)["launcher"] == "local"
    file.write_text("{")
    with pytest.raises(UserError, match="launcher=local or launcher=slurm"):
        launched_with(submitted, named=False)


def state_of(folder, job, queue=None):
    return states(folder, [job], queue or {})[0]


def test_never_started_is_waiting_and_queued_as_well(submitted):
    job = submitted.jobs()[0]
    assert state_of(submitted, job).state == "waiting"
    assert state_of(submitted, job, {job.name: ("PENDING", "7_0")}).where == "queued 7_0"


def test_finished_is_done_whatever_else_is_written(submitted):
    job = submitted.jobs()[0]
    write_run(submitted, job, "finished", 40)
    submitted.note_start(job, 1)
    submitted.note_exit(job, 137)
    found = state_of(submitted, job)
    assert (found.state, found.share) == ("done", 1.0)


def test_a_live_process_is_running_until_it_ends(submitted):
    job = submitted.jobs()[0]
    write_run(submitted, job, "running", 10)
    lock = submitted.lock()
    process = subprocess.Popen([*SLEEP, str(submitted.run(job))], pass_fds=(lock,), stdout=subprocess.PIPE)
    os.close(lock)
    assert process.stdout is not None and process.stdout.readline() == b"\n"
    submitted.note_start(job, process.pid)
    found = state_of(submitted, job)
    assert (found.state, found.step, found.steps, found.seconds_left) == ("running", 10, 40, 7.5)
    assert submitted.lock() is None, "its run holds the lock though the launcher is gone"
    process.kill()
    process.wait(timeout=10)
    assert state_of(submitted, job).state == "preempted"
    (submitted.launch / "lock").chmod(0o444)
    assert not submitted.locked(), "a sweep that may only be read is looked at, too"
    (submitted.launch / "attempts" / job.name).write_text(f"start 1 h 4\nexit {'9' * 5000} 1\n")
    assert submitted.attempts(job).code is None, "a number that is none"


def test_a_requeued_run_is_preempted_until_slurm_starts_it(submitted):
    job = submitted.jobs()[0]
    write_run(submitted, job, "preempted", 12)
    submitted.note_start(job, 1)
    submitted.note_exit(job, 75)
    assert state_of(submitted, job, {job.name: ("PENDING", "7_0")}).state == "preempted"
    assert state_of(submitted, job, {job.name: ("RUNNING", "7_0")}).state == "running"
    assert state_of(submitted, job).state == "preempted"


def test_where_slurm_cannot_be_asked_what_wrote_lately_runs(submitted):
    old, new, *_ = submitted.jobs()
    for job, age in ((old, 7200.0), (new, 60.0)):
        write_run(submitted, job, "running", 12, time=time.time() - age)
        line = f"start {time.time() - 9000:.0f} some-node 1\n"
        (submitted.launch / "attempts" / job.name).write_text(line)
    assert [state.state for state in states(submitted, [old, new], None)] == ["preempted", "running"]
    assert [state.state for state in states(submitted, [old, new], {})] == ["preempted", "preempted"]


def test_a_failed_run_tells_its_last_error(submitted):
    mistaken, crashed, killed, silent, _ = submitted.jobs()
    for job, code in ((mistaken, 2), (crashed, 1), (silent, 3)):
        submitted.note_start(job, 1)
        submitted.note_exit(job, code)
    submitted.log(mistaken).write_text("fit: 1/4\nerror: data.path: found nothing\nsrun: error: n1: exit code 2\n")
    submitted.log(crashed).write_text("Traceback ...\n  deep\nValueError: from the log\n")
    for attempt in range(KILLS):
        assert state_of(submitted, killed).state == ("preempted" if attempt else "waiting")
        submitted.note_start(killed, 1)
        submitted.note_exit(killed, 137)
    found = {state.job: (state.state, state.error) for state in states(submitted, submitted.jobs()[:4], {})}
    assert found == {
        mistaken: ("failed", "data.path: found nothing"),
        crashed: ("failed", "ValueError: from the log"),
        killed: ("failed", "killed 3 times (SIGKILL: out of memory?)"),
        silent: ("failed", "exit code 3"),
    }
    submitted.forget_attempts(killed)
    assert state_of(submitted, killed).state == "waiting"


def test_a_host_that_is_gone_leaves_preempted_runs(submitted):
    job = submitted.jobs()[0]
    write_run(submitted, job, "running", 12)
    line = f"start {time.time():.0f} not-{socket.gethostname()} 1\n"
    (submitted.launch / "attempts" / job.name).write_text(line)
    assert state_of(submitted, job).state == "preempted"


def test_another_expansion_is_refused_unless_forced(submitted, tmp_path):
    sweep = read_sweep(write_file(tmp_path, 2))
    before = submitted.jobs()
    with pytest.raises(UserError, match="found 5 runs added since"):
        submitted.freeze(sweep, expand(sweep), {}, force=False)
    assert submitted.jobs() == before
    submitted.freeze(sweep, expand(sweep), {}, force=True)
    assert len(submitted.jobs()) == 10 and set(before) < set(submitted.jobs())
    other = sweep.with_overrides(["data.fps=20"])
    with pytest.raises(UserError, match="found 10 runs changed since"):
        submitted.freeze(other, expand(other), {}, force=False)
    write_run(submitted, before[0], "finished", 40)
    with pytest.raises(UserError, match=r"1 runs in .* that other overrides made, the first thgs_full_seed0"):
        submitted.freeze(other, expand(other), {}, force=True)
    shutil.rmtree(submitted.run(before[0]))
    submitted.freeze(other, expand(other), {}, force=True)
    assert submitted.jobs()[0].overrides[0] == "data.fps=20"


def test_clearing_removes_runs_and_nothing_else(submitted):
    job = submitted.jobs()[0]
    write_run(submitted, job, "finished", 40)
    (submitted.path / "notes.txt").write_text("mine")
    submitted.clear()
    assert [path.name for path in submitted.path.iterdir()] == ["notes.txt"]


@pytest.fixture
def thousand(tmp_path):
    """A thousand runs: 500 done, 200 failed, 200 preempted, 100 waiting."""
    sweep = read_sweep(write_file(tmp_path, 200))
    folder = SweepFolder(tmp_path / "runs" / "tried")
    folder.freeze(sweep, expand(sweep), {}, force=False)
    for number, job in enumerate(folder.jobs()[:900]):
        state, code = ("finished", 0) if number < 500 else ("failed", 1) if number < 700 else ("preempted", 75)
        write_run(folder, job, state, 40 if code == 0 else 20, error="ValueError: no" if code == 1 else "")
        folder.note_start(job, 1)
        folder.note_exit(job, code)
    return folder


def cpu_seconds_without_torch(*arguments: str, runs) -> tuple[float, str]:
    """Processor time of a sweep command in a process of its own, and what it printed; torch may not come in."""
    program = (
        "import sys; from talkingavatar.sweep import main; code = main(sys.argv[1:]);"
        "assert not {'torch', 'lightning', 'wandb'} & sys.modules.keys(); sys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"TALKINGAVATAR_RUNS": str(runs)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def test_a_thousand_runs_are_told_at_once(thousand, tmp_path):
    few = SweepFolder(tmp_path / "few")
    few.freeze(sweep := read_sweep(write_file(tmp_path, 1)), expand(sweep), {}, force=False)
    seconds, told = cpu_seconds_without_torch("status", str(thousand.path), runs=tmp_path / "runs")
    lines = told.splitlines()
    assert lines[-1].startswith("500 done, 100 waiting, 200 preempted, 200 failed")
    assert lines[0].endswith("failed     ValueError: no") and len(lines) < 50
    assert seconds < 3 * cpu_seconds_without_torch("status", str(few.path), runs=tmp_path / "runs")[0]


def test_a_thousand_runs_are_planned_at_once(tmp_path):
    def planned(seeds: int) -> tuple[float, str]:
        file = write_file(tmp_path, seeds)
        return cpu_seconds_without_torch(str(file), "dry=true", "launcher=slurm", runs=tmp_path / "runs")

    seconds, told = planned(200)
    assert "--array=0-999" in told and "would start 1000 runs" in told
    assert seconds < 2 * planned(1)[0]
    assert not (tmp_path / "runs").exists()


def test_only_what_is_neither_done_nor_failed_is_planned(thousand, tmp_path):
    file = tmp_path / "tried.yaml"
    _, told = cpu_seconds_without_torch(str(file), "dry=true", runs=tmp_path / "runs")
    assert "would start 300 runs" in told and "200 failed before" in told
    _, told = cpu_seconds_without_torch("retry", str(file), "dry=true", runs=tmp_path / "runs")
    assert "would start 200 runs" in told


def test_what_needs_a_look_is_printed_first(thousand):
    table = status_table(states(thousand, thousand.jobs(), {}), shown=3)
    assert table.count("failed     ValueError: no") == 3 and "and 997 more" in table


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"jobs": []}', '{"jobs": [null]}', '{"jobs": [{"name": "../x", "overrides": []}]}',
     '{"jobs": [{"name": "a", "overrides": [1]}]}', '{"jobs": [{"name": "a"}]}'],
)  # fmt: skip
def test_a_damaged_record_is_one_line_and_removes_nothing(submitted, content):
    job = submitted.jobs()[0]
    write_run(submitted, job, "finished", 40)
    submitted.record.write_text(content)
    for action in (submitted.jobs, submitted.clear):
        with pytest.raises(UserError, match=r"sweep\.json"):
            action()
    assert submitted.run(job).is_dir()


def test_a_run_with_anything_of_the_users_is_not_cleared(submitted):
    first, second = submitted.jobs()[:2]
    for job in (first, second):
        write_run(submitted, job, "finished", 40)
    (submitted.run(second) / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="which no run writes"):
        submitted.clear()
    assert submitted.run(first).is_dir() and submitted.record.is_file()


@pytest.mark.parametrize("content", ["", "[1]", '{"step": "x", "steps": [], "time": "y", "state": 3}', "\0"])
def test_a_damaged_word_of_a_run_hides_no_other(submitted, content):
    job = submitted.jobs()[0]
    write_run(submitted, job, "running", 20)
    submitted.note_start(job, 1)
    (submitted.run(job) / "status.json").write_text(content)
    (submitted.run(job) / "metrics.jsonl").write_text('[1]\n{"step": "x"}\n')
    with (submitted.launch / "attempts" / job.name).open("a") as file:
        file.write("start x y z\nexit q\n\xe9\n")
    assert len(states(submitted, submitted.jobs(), {})) == len(submitted.jobs())
