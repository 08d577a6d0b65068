"""The package as a wheel, away from the checkout: presets, sweeps, templates and the papers' figures come along."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the package as `pip install` puts it there."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


@pytest.fixture
def python(installed, tmp_path):
    """Runs python with the installed package in an empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment = {k: v for k, v in os.environ.items() if k != "TALKINGAVATAR_RUNS"}
        environment |= {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_a_sweep_is_found_by_its_name(python, tmp_path):
    for name in ("thgs_table6.yaml", "thgs_table6"):
        done = python("-m", "talkingavatar.sweep", name, "dry=true", "launcher=slurm", "profile=gpu")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"would start 24 runs in {tmp_path / 'runs/thgs_table6'}"
    refused = python("-m", "talkingavatar.sweep", "thgs_tabel6")
    assert refused.returncode == 2 and "did you mean thgs_table6?" in refused.stderr
    (tmp_path / "thgs_table6.yaml").write_text("mine: true")
    assert "mine: found an unknown key" in python("-m", "talkingavatar.sweep", "thgs_table6.yaml").stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["conf", "sweeps", "slurm", "experiments"])
def test_it_holds_the_files_of_the_checkout(python, installed, name):
    code = f"from talkingavatar.paths import shipped; print(shipped('{name}'))"
    found = Path(python("-c", code).stdout.strip())
    assert found == installed / "talkingavatar" / name
    wanted = [file for file in (ROOT / name).rglob("paper.json" if name == "experiments" else "*") if file.is_file()]
    assert wanted
    for file in wanted:
        copy = found / file.relative_to(ROOT / name)
        assert copy.read_bytes() == file.read_bytes()
        assert os.access(copy, os.X_OK) == os.access(file, os.X_OK)


def test_it_holds_the_page(installed):
    assets = Path("talkingavatar", "viewer", "assets")
    wanted = [file.relative_to(ROOT) for file in (ROOT / assets).rglob("*") if file.is_file()]
    assert assets / "index.html" in wanted and assets / "js" / "renderer.js" in wanted
    for file in wanted:
        assert (installed / file).read_bytes() == (ROOT / file).read_bytes()
