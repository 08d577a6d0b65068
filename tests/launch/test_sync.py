"""Offline runs to a server, by `wandb sync` itself: each row once, in order, whatever was killed."""

import json
import os
import subprocess
import sys

import pytest

from talkingavatar.engine.tracking.offline import files
from talkingavatar.errors import UserError
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.state import JobState
from talkingavatar.launch.sync import sync, unsent
from tests.wandb_server import Server, until_ended

# A start of a run: its tracker follows a journal and is killed, or comes to its end.
START = """
import os, signal, subprocess, sys
from pathlib import Path
from talkingavatar.config.compose import compose
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.tracking.tracker import Tracker

folder, first, last, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
run = RunDirectory(Path(folder))
tracker = Tracker(compose([f"run.path={folder}"]), run)
run.truncate_metrics(first - 1)
for step in range(first, last + 1):
    run.log(step, {"loss/total": 1 / step})
    tracker.follow()
if end == "close":
    tracker.close()
os.kill(os.getpid(), signal.SIGKILL)
"""


def start(run, first, last, end, **environment) -> None:
    words = [sys.executable, "-c", START, str(run), str(first), str(last), end]
    process = subprocess.Popen(words, env=os.environ | {"WANDB_MODE": "offline"} | environment)
    process.wait(timeout=120)
    until_ended(process.pid)


@pytest.fixture
def sweep(tmp_path):
    """A sweep of one run, and its state."""
    folder = SweepFolder(tmp_path / "sweep")
    job = Job("one", ())
    folder.run(job).mkdir(parents=True)
    folder.record.write_text(json.dumps({"jobs": [{"name": "one", "overrides": []}]}))
    return folder, JobState(job, "preempted")


@pytest.fixture
def server(monkeypatch):
    with Server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def journal(run) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def received(server, run) -> list[dict]:
    rows = server.rows((run / "wandb_id").read_text())
    return [{key: row[key] for key in ("step", "loss/total")} for row in rows if "loss/total" in row]


def test_what_was_killed_and_continued_arrives_whole(sweep, server):
    folder, state = sweep
    run = folder.run(state.job)
    start(run, 1, 400, "kill")
    (first,) = files(run)
    first.write_bytes(first.read_bytes()[:-300])  # killed while it wrote: torn within a record
    assert sync(folder, [state], dry=False) == "sent one"
    part = received(server, run)
    assert 350 < len(part) < 400 and part == journal(run)[: len(part)]
    assert unsent(run) == [] and sync(folder, [state], dry=False) == "nothing to send"

    start(run, 301, 1200, "kill")
    torn = files(run)[-1].parent.parent / "offline-run-29990101_000000-killed"
    torn.mkdir()
    (torn / "run-killed.wandb").write_bytes(first.read_bytes()[:7])  # killed before its first record
    running = JobState(state.job, "running")
    assert sync(folder, [running], dry=False) == "one is running: later"
    start(run, 1101, 1230, "close")
    assert sync(folder, [state], dry=False) == "sent one"
    assert received(server, run) == journal(run) and len(journal(run)) == 1230


def test_online_the_server_is_sent_what_it_lacks(sweep, server):
    folder, state = sweep
    run = folder.run(state.job)
    start(run, 1, 20, "close", **server.environment())
    run_id = (run / "wandb_id").read_text()
    del server.history[run_id][12:]  # lost on the way
    start(run, 15, 30, "close", **server.environment())
    assert received(server, run) == journal(run) and len(journal(run)) == 30


def test_a_server_that_refuses_is_one_clear_line(sweep, monkeypatch):
    folder, state = sweep
    start(folder.run(state.job), 1, 3, "close")
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    with pytest.raises(UserError, match=r"1 of 1 folders not sent.*wandb login"):
        sync(folder, [state], dry=False)
