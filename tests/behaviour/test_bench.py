"""`bench fit` and `bench drive`: parts that make up the whole, comparisons with another commit, mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from talkingavatar.bench import main
from talkingavatar.config.compose import compose, to_yaml
from talkingavatar.engine.measuring import step_bench

ROOT = Path(__file__).parents[2]


def test_the_parts_of_a_step_make_up_the_whole(command, tiny, tmp_path):
    out = tmp_path / "step.json"
    done = command("bench", "fit", *tiny, "--first", "5", "--steps", "4", "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    assert [row["part"] for row in rows] == [*step_bench.PARTS, "all"]
    assert sum(row["share"] for row in rows[:-1]) == pytest.approx(1.0)
    for part in ("drive", "rasterise", step_bench.RASTER_BACK, step_bench.OTHER_BACK, "optimiser", "losses", "data"):
        assert next(row for row in rows if row["part"] == part)["share"] > 0, part
    whole = rows[-1]
    assert whole["Gaussians"] > 1000
    assert whole["steps/s"] == pytest.approx(1000 / whole["ms a step"], rel=0.2)
    assert not (tmp_path / "runs").exists(), "it leaves no run behind"


def test_the_parts_of_a_driven_frame(command, tiny, tmp_path):
    run, out = tmp_path / "run", tmp_path / "drive.json"
    done = command("fit", *tiny, f"run.path={run}", "run.stop_after=2")
    assert done.returncode == 75, done.stderr
    done = command("bench", "drive", f"run={run}", "--frames", "4", "--parts", "drive", "encode", "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    assert [row["part"] for row in rows] == ["drive", "encode", "all"]
    assert 0 < rows[0]["share"] < 1 and rows[-1]["frames/s"] == pytest.approx(1000 / rows[-1]["ms a frame"])
    assert rows[-1]["times, to Gaussians"] > 0 and rows[-1]["times, to a video"] > 0


def test_another_commit_is_measured_in_turn(tmp_path):
    """A checkout of two commits whose benchmarks write figures that are known."""
    package = tmp_path / "talkingavatar"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '0'")
    (package / "launch").mkdir()
    for name in ("errors.py", "launch/__init__.py", "launch/code.py", "launch/against.py"):
        (package / name).write_text((ROOT / "talkingavatar" / name).read_text())
    fake = "import sys, json\njson.dump([{{'part': 'x', 'n': 3, 'ms': {ms}}}], open(sys.argv[-1], 'w'))\n"

    def git(*words):
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *name, *words], check=True, capture_output=True)

    git("init", "-q")
    for ms in (8.0, 2.0):
        (package / "bench.py").write_text(fake.format(ms=ms))
        git("add", "-A")
        git("commit", "-qm", str(ms))
    code = "from talkingavatar.launch.against import compare, lines; r = compare(['fit'], 'HEAD~1', 2); print(r)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    last = done.stdout.splitlines()[-1]
    assert last == str([{"part": "x", "n": 3, "ms": {"before": 8.0, "after": 2.0, "ratio": 4.0}}])
    listed = subprocess.run(
        ["git", "-C", str(tmp_path), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1, "the other tree is gone"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fit", "experiment=thgs_ful"], "did you mean thgs_full"),
        (["fit", "experiment=thgs_full", "--first", "1150"], "at most 1200, the steps of the fit"),
        (["fit", "experiment=thgs_full", "--parts", "rasterize"], "did you mean rasterise"),
        (["fit", "experiment=syncnet", "--first", "0", "--steps", "1"], "fits no avatar"),
        (["drive", "run=nowhere"], "no such folder"),
        (["raster", "--device", "cuda"], "no CUDA device"),
    ],
)
def test_a_mistake_is_one_line(words, expected, capsys):
    if "cuda" in words:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device")
    assert main(words) == 2
    told = capsys.readouterr().err
    assert expected in told and told.startswith("error: ") and len(told.splitlines()) == 1


def test_a_commit_that_is_not_there(capsys):
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    assert main(["fit", "experiment=thgs_full", "--against", "0000000"]) == 2
    assert "a commit of this checkout" in capsys.readouterr().err


def test_a_run_without_a_checkpoint(command, tiny, tmp_path):
    (tmp_path / "config.yaml").write_text(to_yaml(compose(tiny)))
    done = command("bench", "drive", f"run={tmp_path}")
    assert done.returncode == 2 and "no checkpoint" in done.stderr and "Traceback" not in done.stderr
