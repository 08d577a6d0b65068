import json
import subprocess
import sys

import pytest

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.stages import Stage, key_of, only_one, run_stage, seconds_of


class Work:
    """A stage's work that counts how often it is done, and may be stopped."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, folder) -> None:
        for name in ("a", "b", "c"):
            if (folder / name).is_file():
                continue
            if len(self.done) == 2 and name == "c" and not self.stopped:
                self.stopped = True
                raise KeyboardInterrupt
            (folder / name).write_text(name)
            self.done.append(name)

    stopped = True


def test_a_finished_stage_is_not_run_again(tmp_path):
    work, stage = Work(), Stage("one", 1, {"size": 3}, {"video": "abc"})
    folder = run_stage(tmp_path, stage, work)
    assert folder == tmp_path / "one" and key_of(folder) == stage.key
    assert run_stage(tmp_path, stage, work) == folder and work.done == ["a", "b", "c"]
    assert json.loads((folder / "stamp.json").read_text())["options"] == {"size": 3}


@pytest.mark.parametrize(
    "other",
    [Stage("one", 2, {"size": 3}, {"video": "abc"}), Stage("one", 1, {"size": 4}, {"video": "abc"}),
     Stage("one", 1, {"size": 3}, {"video": "abd"})],
    ids=["version", "options", "inputs"],
)  # fmt: skip
def test_another_version_option_or_input_runs_it_again(other, tmp_path):
    stage = Stage("one", 1, {"size": 3}, {"video": "abc"})
    run_stage(tmp_path, stage, Work())
    (tmp_path / "one" / "left").write_text("over")
    work = Work()
    run_stage(tmp_path, other, work)
    assert work.done == ["a", "b", "c"] and not (tmp_path / "one" / "left").exists()
    assert key_of(tmp_path / "one") == other.key != stage.key


def test_a_stopped_stage_goes_on_and_is_not_seen_before(tmp_path):
    work, stage = Work(), Stage("one", 1)
    work.stopped = False
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, stage, work)
    assert not (tmp_path / "one").exists()
    run_stage(tmp_path, stage, work)
    assert work.done == ["a", "b", "c"]  # nothing twice
    assert not (tmp_path / "one.partial").exists()


def test_what_a_stage_of_other_options_left_is_thrown_away(tmp_path):
    work = Work()
    work.stopped = False
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, Stage("one", 1), work)
    other = Work()
    run_stage(tmp_path, Stage("one", 2), other)
    assert other.done == ["a", "b", "c"]


def test_a_folder_without_a_stamp_counts_for_nothing(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a").write_text("foreign")
    (tmp_path / "one.partial").mkdir()
    (tmp_path / "one.partial" / "b").write_text("foreign")
    work = Work()
    folder = run_stage(tmp_path, Stage("one", 1), work)
    assert work.done == ["a", "b", "c"] and (folder / "a").read_text() == "a"


def test_the_seconds_of_all_starts_are_added(tmp_path):
    import time

    def slow(folder):
        time.sleep(0.15)
        if not (folder / "begun").exists():
            (folder / "begun").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, Stage("one", 1), slow)
    assert seconds_of(run_stage(tmp_path, Stage("one", 1), slow)) >= 0.25


def test_one_at_a_time(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from talkingavatar.preprocessing.stages import only_one\n"
        "with only_one(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another preprocess is under way on"), only_one(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with only_one(tmp_path):
        pass


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="out: found"), only_one(tmp_path / "file" / "work"):
        pass
