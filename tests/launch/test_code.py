"""The frozen code is the checkout as it stood, a git checkout itself, and is what runs are started from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import talkingavatar
from talkingavatar.launch import code
from talkingavatar.launch.local import gpus, python_path


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> Path:
    if code.checkout() is None:
        pytest.skip("the package is not part of a git checkout")
    target = tmp_path_factory.mktemp("frozen") / "1"
    assert code.snapshot(target)
    return target


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_commit_and_files_are_those_of_the_checkout(frozen):
    root = code.checkout()
    assert root is not None
    assert git(frozen, "rev-parse", "HEAD") == git(root, "rev-parse", "HEAD")
    assert git(frozen, "ls-files") == git(root, "ls-files")
    for name in ("talkingavatar/fit.py", "conf/fit.yaml"):
        assert (frozen / name).read_bytes() == (root / name).read_bytes()


def test_a_run_takes_the_frozen_package_even_inside_the_checkout(frozen):
    where = Path(talkingavatar.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", "import talkingavatar; print(talkingavatar.__file__)"],
        cwd=where, env=os.environ | python_path(frozen), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()) == frozen / "talkingavatar/__init__.py"


def test_an_edit_is_seen(frozen):
    file = frozen / "talkingavatar/fit.py"
    before = file.read_text()
    state = code._state(frozen)
    file.write_text(before + "# edited\n")
    assert code._state(frozen) != state and not code.same(frozen)
    file.write_text(before)
    assert code._state(frozen) == state


def test_gpus_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert gpus() == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []
