"""A thousand runs are overseen in seconds, on a login node without a graphics stack."""

import json

from talkingavatar.launch.bench import bench_sweep
from tests.conftest import cold

LIMITS = {"report": 10.0, "status": 2.0, "submission (dry)": 5.0}  # seconds of processor time


def test_a_thousand_runs():
    rows = bench_sweep(1000, pictures=0)
    assert {row["command"]: row["imported"] for row in rows} == {name: [] for name in LIMITS}
    for row in rows:
        assert 0.0 < row["cpu_s"] < LIMITS[row["command"]], row


def test_the_command_writes_its_figures(tmp_path):
    done = cold("bench", "sweep", "--runs", "20", "--pictures", "1", "--out", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert [(row["command"], row["runs"], row["pictures"]) for row in rows] == [(name, 20, 1) for name in LIMITS]
    assert "submission (dry)" in done.stdout
