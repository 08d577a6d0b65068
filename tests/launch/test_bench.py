"""A thousand runs are overseen at no more than a thousand times the cost of one, on a login node without graphics."""

import json

from talkingavatar.launch.bench import bench_sweep
from tests.conftest import cold

COMMANDS = ("report", "status", "submission (dry)")
TIMES = 10


def test_a_thousand_runs_cost_at_most_in_proportion():
    few, many = bench_sweep(1000 // TIMES, pictures=0), bench_sweep(1000, pictures=0)
    assert {row["command"]: row["imported"] for row in many} == {name: [] for name in COMMANDS}
    for one, other in zip(few, many, strict=True):
        assert 0.0 < other["cpu_s"] < TIMES * one["cpu_s"], (one, other)


def test_the_command_writes_its_figures(tmp_path):
    done = cold("bench", "sweep", "--runs", "20", "--pictures", "1", "--out", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert [(row["command"], row["runs"], row["pictures"]) for row in rows] == [(name, 20, 1) for name in COMMANDS]
    assert "submission (dry)" in done.stdout
