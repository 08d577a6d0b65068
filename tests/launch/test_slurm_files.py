"""What goes to SLURM, without one: profiles, options, the lines a task reads, W&B's offline folders."""

import shlex
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from talkingavatar.errors import UserError
from talkingavatar.launch import slurm
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.state import JobState
from talkingavatar.launch.sync import sync, unsent

PROFILES = sorted((slurm.template_folder() / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("file", PROFILES, ids=lambda f: f.stem)
def test_every_profile_reads(file):
    profile = slurm.read_profile(file.stem)
    assert slurm.read_profile(str(file)) == profile
    given = dict(o.removeprefix("--").split("=", 1) for o in slurm.options(profile, "name", 3))
    assert given["array"].startswith("0-2") and given["signal"] == f"USR1@{profile.warn_seconds}"
    assert "" not in given.values()


def test_changes_on_the_command_line_keep_their_types():
    profile = slurm.read_profile("gpu", ["time=2-00:00:00", "gpus=2", "at_once=0", "constraint=a100"])
    assert (profile.time, profile.gpus, profile.at_once, profile.constraint) == ("2-00:00:00", 2, 0, "a100")
    assert {"--time=2-00:00:00", "--gres=gpu:2", "--constraint=a100"} <= set(slurm.options(profile, "x", 1))
    assert slurm.read_profile("gpu", ["setup=[export A=b, module load x]"]).setup == ["export A=b", "module load x"]
    nodes = slurm.options(slurm.read_profile("gpu", ["nodes=2", "tasks=4"]), "x", 1)
    assert {"--nodes=2", "--ntasks-per-node=4"} <= set(nodes)
    with pytest.raises(UserError, match="gpus"):
        slurm.read_profile("gpu", ["gpus=many"])


def test_a_time_that_yaml_reads_as_a_number_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_text("time: 2:00:00\n")
    try:
        assert slurm.read_profile(str(tmp_path / "mine.yaml")).time == "2:00:00"
    except UserError as error:
        assert "in quotes" in str(error)


def test_a_task_reads_back_the_words_of_its_run(tmp_path):
    """The shell's own eyes on jobs.tsv and environment.sh, as the template reads them."""
    folder = SweepFolder(tmp_path / "it's a sweep")
    job = Job("one", ("data.path='a b'", "loss.terms={l1:{weight:0.5}}", "seed=3"))
    profile = slurm.Profile(container=["apptainer", "exec", "my image.sif"], setup=["export FROM_SETUP=yes"])
    (tmp_path / "environment.sh").write_text(slurm.environment(profile, Path("/frozen code/1")))
    line = shlex.join(folder.arguments(job))
    script = (
        f'. "{tmp_path}/environment.sh"; eval "arguments=($1)"; printf "%s\\n" '
        '"$PYTHONPATH" "$PYTHONSAFEPATH" "$WANDB_MODE" "$FROM_SETUP" "${fit[@]:0:3}" "${arguments[@]}"'
    )
    done = subprocess.run(["bash", "-c", script, "-", line], capture_output=True, text=True, check=True, timeout=20)
    path, *words = done.stdout.splitlines()
    assert path.split(":")[0] == "/frozen code/1"
    assert words == ["1", "offline", "yes", "apptainer", "exec", "my image.sif", *folder.arguments(job)]


def test_offline_folders_are_sent_in_order_and_once(tmp_path):
    folder = SweepFolder(tmp_path / "sweep")
    job = Job("one", ())
    for part in ("offline-run-2-id", "offline-run-1-id", "offline-run-0-id", "offline-run-3-empty", "run-4-online"):
        (tmp_path / "sweep/one/wandb" / part).mkdir(parents=True)
        record = struct.pack("<IHB", zlib.crc32(b"content", zlib.crc32(b"\1")), 7, 1) + b"content"
        content = b"header." + (record if "empty" not in part else b"")
        (tmp_path / "sweep/one/wandb" / part / "run-id.wandb").write_bytes(content)
    (tmp_path / "sweep/one/wandb/offline-run-0-id/run-id.wandb.synced").touch()
    assert [part.name for part in unsent(tmp_path / "sweep/one")] == ["offline-run-1-id", "offline-run-2-id"]
    told = sync(folder, [JobState(job, "done")], dry=True)
    assert told.count("would run") == 1 and told.index("run-1-id") < told.index("run-2-id")
