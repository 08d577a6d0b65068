"""One process at a time, wherever it runs; a lock whose owner is gone is taken over."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from talkingavatar.errors import UserError
from talkingavatar.runtime import lock
from talkingavatar.runtime.lock import NAME, held
from talkingavatar.runtime.making import making
from talkingavatar.runtime.owner import Owner

HOLD = (
    "import sys, pathlib\nfrom talkingavatar.runtime.lock import held\n"
    "with held(pathlib.Path(sys.argv[1]), 'run.path', 'this run'):\n"
    "    print('held', flush=True)\n    sys.stdin.read()\n"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder's lock."""
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def written(folder) -> dict:
    return json.loads((folder / NAME).read_text())


def plant(folder, owner: Owner) -> None:
    (folder / NAME).write_text(json.dumps(asdict(owner)))


def test_a_second_process_is_refused_and_a_killed_one_is_followed_at_once(tmp_path, holder):
    told = rf"run.path: found this run is under way on {os.uname().nodename} since .* \(process {holder.pid}\)"
    with pytest.raises(UserError, match=told), held(tmp_path, "run.path", "this run"):
        pass
    assert written(tmp_path)["pid"] == holder.pid
    holder.kill()
    holder.wait()
    began = time.monotonic()
    with held(tmp_path, "run.path", "this run"):
        assert written(tmp_path)["pid"] == os.getpid()
    assert time.monotonic() - began < 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"began": 1}, {"pid": 2**22 + 5}])
def test_a_process_number_given_to_another_is_not_its_owner(tmp_path, change):
    plant(tmp_path, replace(Owner.this(), **change))
    with held(tmp_path, "run.path", "this run"):
        assert written(tmp_path) != change


def test_slurm_never_runs_a_job_twice_at_a_time(tmp_path, monkeypatch):
    """A node is lost, and the job starts again on another within the second."""
    plant(tmp_path, replace(Owner.this(), host="lost", job="77", restart=0))
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with held(tmp_path, "run.path", "this run"):
        assert written(tmp_path)["restart"] == 1


def test_another_machine_is_watched_for_a_sign_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.3)
    monkeypatch.setattr(lock, "LOOK", 0.05)
    plant(tmp_path, replace(Owner.this(), host="elsewhere"))
    beat = threading.Timer(0.1, os.utime, [tmp_path / NAME])
    beat.start()
    said = []
    with pytest.raises(UserError, match="under way on elsewhere"), held(tmp_path, "run.path", "this run", said.append):
        pass
    assert "elsewhere" in said[0]
    with held(tmp_path, "run.path", "this run"):  # now it is still
        assert written(tmp_path)["host"] == os.uname().nodename


def test_one_left_for_long_is_taken_over_at_once(tmp_path):
    plant(tmp_path, replace(Owner.this(), host="elsewhere"))
    os.utime(tmp_path / NAME, (0, 0))
    with held(tmp_path, "run.path", "this run"):
        assert written(tmp_path)["host"] == os.uname().nodename


@pytest.mark.parametrize("content", ["", "null", '{"host": 3}', "\0"])
def test_a_damaged_lock_is_nobodys(tmp_path, content, monkeypatch):
    monkeypatch.setattr(lock, "LOOK", 0.01)
    (tmp_path / NAME).write_text(content)
    with held(tmp_path, "run.path", "this run"):
        assert written(tmp_path)["pid"] == os.getpid()


def test_without_hard_links(tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with (
        held(tmp_path, "run.path", "this run"),
        pytest.raises(UserError, match="under way"),
        held(tmp_path, "run.path", "this run"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_who_lost_it_while_suspended_is_told(tmp_path):
    with held(tmp_path, "run.path", "this run") as ours:
        ours.check()
        plant(tmp_path, replace(Owner.this(), host="elsewhere"))
        with pytest.raises(UserError, match="taken over by a start on elsewhere"):
            ours.check()
    assert written(tmp_path)["host"] == "elsewhere", "another's lock stays"


def test_twenty_at_once_hold_it_one_after_the_other(tmp_path):
    inside, most, done = [], [], []

    def work() -> None:
        for _ in range(200):
            try:
                with held(tmp_path, "run.path", "this run"):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.002)
                    inside.pop()
                    done.append(1)
                    return
            except UserError:
                time.sleep(0.005)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8 and max(most) == 1


def test_what_a_killed_maker_left_is_removed_by_the_next(tmp_path):
    gone = replace(Owner.this(), began=1)
    left = tmp_path / f".making-{gone.process}-abc"
    (left / "capture").mkdir(parents=True)
    with making(tmp_path) as ours, making(tmp_path) as beside:
        assert not left.exists() and ours.is_dir() and beside.is_dir(), "those at work are let alone"
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    told = r"cache: found .*file/captures.*TALKINGAVATAR_CACHE"
    with pytest.raises(UserError, match=told), making(tmp_path / "file" / "captures"):
        pass
