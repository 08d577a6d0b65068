"""The benchmark's command: figures that belong together, and help without waiting for torch."""

import json
import subprocess
import sys

import pytest

from talkingavatar.bench import main


def test_figures_are_consistent(tmp_path, capsys):
    out = tmp_path / "figures" / "raster.json"
    main(["raster", "--counts", "200", "--sizes", "32", "--repeats", "2", "--device", "cpu", "--out", str(out)])
    rows = json.loads(out.read_text())
    assert [row["mode"] for row in rows] == ["3dgs", "2dgs"]
    for row in rows:
        assert row["frames/s"] == pytest.approx(1000 / row["forward"])
        assert row["ratio"] == pytest.approx(row["plain fwd+bwd"] / row["fwd+bwd"])
    assert capsys.readouterr().out.splitlines()[-1] == f"figures: {out}"


def test_help_does_not_wait_for_torch():
    code = "import sys, talkingavatar.bench; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["raster", "--counts", "0"], ["raster", "--mode", "4dgs"]])
def test_mistakes_end_with_code_2(arguments):
    assert main(arguments) == 2
