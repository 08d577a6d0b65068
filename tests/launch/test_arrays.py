"""Job arrays on clusters of all kinds, by stand-ins for SLURM's programs that keep a queue in a file."""

import json
import re
from pathlib import Path

import pytest

from talkingavatar.errors import UserError
from talkingavatar.launch import arrays, slurm
from talkingavatar.launch.expansion import Job
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.submit import current

SBATCH = """#!/bin/bash
for word in "$@"; do case $word in
  --array=*) last=${word#--array=0-}; last=${last%%%*} ;;
  --job-name=*) title=${word#--job-name=} ;;
esac; done
number=$(( $(cat number 2>/dev/null || echo 100) + 1 ))
[ "$last" -lt "${MAXARRAY:-1001}" ] || { echo "sbatch: error: Batch job submission failed: Invalid job array specification" >&2; exit 1; }
[ $(( $(wc -l <queue) + last + 1 )) -le "${MAXSUBMIT:-100000}" ] || { echo "sbatch: error: AssocMaxSubmitJobLimit
sbatch: error: Batch job submission failed: Job violates accounting/QOS policy" >&2; exit 1; }
echo $number >number
for task in $(seq 0 "$last"); do echo "$number $task PENDING $title" >>queue; done
printf '%s\\n' "$*" >>log
[ -z "$LOST" ] || { echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1; }
[ -z "$HUNG" ] || { echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1; }
[ -z "$WORDY" ] || echo "site: welcome"
[ -z "$WRAPPED" ] || { echo "Submitted batch job $number on cluster west"; exit; }
echo "${GARBLED:-$number}$FEDERATED"
"""  # noqa: E501
SQUEUE = """#!/bin/bash
[ -z "$DOWN" ] || { echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1; }
printenv | grep -E "^(SQUEUE|SLURM)_" >seen
case $* in *--states=all*) cat "${SHOWN:-queue}" ;; *) grep PENDING queue ;; esac
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> SweepFolder:
    for name, text in {
        "sbatch": SBATCH, "squeue": SQUEUE, "scancel": "#!/bin/bash\necho \"$@\" >cancelled\n",
        "scontrol": "#!/bin/bash\n[ -z \"$MUTE\" ] || exit 1\necho \"MaxArraySize            = ${MAXARRAY:-1001}\"\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "queue").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    sweep = SweepFolder(tmp_path / "my sweep")
    (sweep.launch / "submissions").mkdir(parents=True)
    return sweep


def jobs(count: int) -> list[Job]:
    return [Job(f"seed{seed}", (f"seed={seed}",)) for seed in range(count)]


def sent() -> list[tuple[str, str]]:
    """Indices and dependency of each array."""
    found = []
    for line in Path("log").read_text().splitlines():
        after = re.search(r"afterany:(\S+)", line)
        found.append((re.search(r"--array=(\S+)", line)[1], after[1] if after else ""))
    return found


@pytest.mark.parametrize(
    ("limit", "at_once", "expected"),
    [
        ("4", 2, [("0-3%2", ""), ("0-3%2", "101"), ("0-0%2", "102")]),
        ("4", 0, [("0-3", ""), ("0-3", ""), ("0-0", "")]),
        ("2", 4, [("0-1%4", ""), ("0-1%4", ""), ("0-1%4", "101"), ("0-1%4", "102"), ("0-0%4", "103")]),
        ("1001", 3, [("0-8%3", "")]),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_arrays_are_as_large_as_the_cluster_takes(folder, monkeypatch, limit, at_once, expected, told):
    """And no more runs at a time than asked for, whether or not the cluster tells its limit."""
    monkeypatch.setenv("MAXARRAY", limit)
    if not told:
        monkeypatch.setenv("MUTE", "1")
    arrays.submit(folder, jobs(9), slurm.Profile(at_once=at_once), None)
    if told:
        assert sent() == expected
    assert sum(1 + int(re.match(r"0-(\d+)", array)[1]) for array, _ in sent()) == 9
    assert len(arrays.queue(folder)) == 9


def test_what_a_refusal_left_is_known(folder, monkeypatch):
    monkeypatch.setenv("MAXSUBMIT", "6")
    with pytest.raises(UserError, match=r"6 of 9 runs submitted, then: AssocMaxSubmitJobLimit; Batch job .* policy"):
        arrays.submit(folder, jobs(9), slurm.Profile(at_once=2), None)
    queued = arrays.queue(folder)
    assert sorted(queued) == [f"seed{number}" for number in range(6)]
    monkeypatch.setenv("MAXSUBMIT", "100")
    before = len(sent())
    arrays.submit(folder, jobs(9)[6:], slurm.Profile(at_once=2), None)
    assert sent()[before] == ("0-2%2", "101:102")  # behind all that is there
    assert arrays.cancel(folder) == 9
    assert Path("cancelled").read_text().split() == ["103", "102", "101"]


@pytest.mark.parametrize(
    ("how", "cluster"), [("LOST", ""), ("WORDY", ""), ("FEDERATED", "east"), ("WRAPPED", "west"), ("GARBLED", "")]
)
def test_a_number_is_found_whatever_sbatch_says(folder, monkeypatch, how, cluster):
    monkeypatch.setenv(how, ";east" if how == "FEDERATED" else "thanks")
    assert arrays.submit(folder, jobs(3), slurm.Profile(), None) == ["101"]
    assert arrays.queue(folder)["seed2"] == ("PENDING", "101_2")
    assert arrays.submissions(folder)[0].cluster == cluster


def test_an_array_that_is_taken_late_is_known(folder, monkeypatch):
    monkeypatch.setenv("HUNG", "1")
    monkeypatch.setenv("SHOWN", "/dev/null")
    with pytest.raises(UserError, match="Socket timed out"):
        arrays.submit(folder, jobs(2), slurm.Profile(), None)
    assert arrays.queue(folder) == {}
    monkeypatch.delenv("SHOWN")
    assert arrays.queue(folder).keys() == {"seed0", "seed1"} and arrays.cancel(folder) == 2


@pytest.mark.parametrize(
    ("state", "queued"),
    [(state, False) for state in ("NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT", "PREEMPTED", "CANCELLED", "COMPLETED")]
    + [(state, True) for state in ("RUNNING", "COMPLETING", "SUSPENDED", "REQUEUE_HOLD", "SPECIAL_EXIT")],
)
def test_what_slurm_has_ended_is_not_in_its_queue(folder, state, queued):
    arrays.submit(folder, jobs(2), slurm.Profile(), None)
    text = Path("queue").read_text()
    Path("queue").write_text(text.replace("PENDING", state, 1))
    assert ("seed0" in arrays.queue(folder)) == queued and "seed1" in arrays.queue(folder)


def test_what_a_user_or_an_outer_job_set_does_not_hide_anything(folder, monkeypatch):
    for name in ("SQUEUE_STATES", "SQUEUE_FORMAT", "SLURM_MEM_PER_CPU", "SLURM_JOB_ID", "SLURM_CONF"):
        monkeypatch.setenv(name, "x")
    arrays.submit(folder, jobs(2), slurm.Profile(), None)
    assert len(arrays.queue(folder)) == 2 and Path("seen").read_text().split() == ["SLURM_CONF=x"]


def test_a_path_with_a_percent_sign_is_no_pattern(tmp_path, folder):
    words = arrays.command(folder, slurm.Profile(), tmp_path / "50% of a%a", "title", 1, "")
    assert f"--output={tmp_path}/50%% of a%%a/slurm-%a.log" in words


@pytest.mark.parametrize("content", ["", "[]", '{"id": 3}', '{"id": "x", "title": "", "cluster": "", "jobs": []}'])
def test_a_damaged_record_of_an_array_is_one_line(folder, content):
    arrays.submit(folder, jobs(2), slurm.Profile(), None)
    (folder.launch / "submissions/1 copy").mkdir()
    (folder.launch / "submissions/1 copy/job.json").write_text("nobody's")
    assert len(arrays.submissions(folder)) == 1
    (folder.launch / "submissions/1/job.json").write_text(content)
    with pytest.raises(UserError, match=r"job\.json.*remove its folder"):
        arrays.submissions(folder)


def test_a_submission_that_was_killed_is_found_by_its_name(folder):
    arrays.submit(folder, jobs(2), slurm.Profile(), None)
    file = folder.launch / "submissions/1/job.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"id": ""}))
    assert arrays.queue(folder).keys() == {"seed0", "seed1"}
    assert arrays.submissions(folder)[0].number == "101"


def test_a_queue_that_cannot_be_asked_is_not_empty(folder, monkeypatch):
    arrays.submit(folder, jobs(2), slurm.Profile(), None)
    monkeypatch.setenv("DOWN", "1")
    for ask in (arrays.queue, arrays.cancel):
        with pytest.raises(UserError, match="Unable to contact slurm controller"):
            ask(folder)


@pytest.mark.parametrize(
    ("shown", "known"),
    [
        ("", True),
        ("CLUSTER: east\n", True),
        ("7 N/A RUNNING other\nwelcome\n", True),
        ("welcome\n", False),
        ("\xff\0;", False),
    ],
)
def test_a_queue_that_lists_no_jobs_is_not_believed_to_be_empty(folder, monkeypatch, shown, known):
    arrays.submit(folder, jobs(2), slurm.Profile(), None)
    Path("shown").write_text(shown, encoding="latin-1")
    monkeypatch.setenv("SHOWN", "shown")
    if known:
        assert arrays.queue(folder) == {}
        return
    for ask in (arrays.queue, arrays.cancel):
        with pytest.raises(UserError, match=r"squeue: found .*; expected a job a line"):
            ask(folder)


def test_a_queue_that_cannot_be_asked_here_is_told(folder, monkeypatch, capsys):
    arrays.submit(folder, jobs(2), slurm.Profile(), None)
    monkeypatch.setenv("PATH", str(folder.path))
    current(folder, jobs(2))
    assert "no squeue on PATH" in capsys.readouterr().err
