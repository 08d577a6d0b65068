"""A thousand runs are overseen for little more than a hundred are, on a login node without a graphics stack."""

import json

from talkingavatar.launch.bench import bench_sweep
from tests.conftest import cold

LIMITS = {"report": 6.0, "status": 2.0, "submission (dry)": 2.0}  # times the processor time of a hundred runs


def test_a_thousand_runs():
    few, many = bench_sweep(100, pictures=0), bench_sweep(1000, pictures=0)
    assert {row["command"]: row["imported"] for row in many} == {name: [] for name in LIMITS}
    for one, row in zip(few, many, strict=True):
        assert 0.0 < row["cpu_s"] < LIMITS[row["command"]] * one["cpu_s"], (one, row)


def test_the_command_writes_its_figures(tmp_path):
    done = cold("bench", "sweep", "--runs", "20", "--pictures", "1", "--out", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert [(row["command"], row["runs"], row["pictures"]) for row in rows] == [(name, 20, 1) for name in LIMITS]
    assert "submission (dry)" in done.stdout
