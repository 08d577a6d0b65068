"""Shared fixtures: the cache lives as long as the session's temporary folder unless one is given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, so that the open rig and the embedded capture are made once."""
    given = os.environ.get("TALKINGAVATAR_CACHE")
    folder = Path(given) if given else tmp_path_factory.getbasetemp().parent / "talkingavatar-cache"
    os.environ["TALKINGAVATAR_CACHE"] = str(folder)
    os.environ.setdefault("WANDB_MODE", "offline")
    return folder


@pytest.fixture
def command(tmp_path: Path):
    """Runs `python -m talkingavatar.<name> ...` as a user would, with runs under the test's folder."""

    def run(name: str, *arguments: str, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", f"talkingavatar.{name}", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=os.environ | {"TALKINGAVATAR_RUNS": str(tmp_path / "runs")} | environment,
            check=False,
        )

    return run


TINY = [
    "data.seconds=2", "data.size=64", "budget.name=tiny", "budget.steps=40", "budget.warmup=8",
    "budget.heldout_frames=2", "budget.media_frames=3", "trainer.checkpoint_every=7", "trainer.preview_every=20",
    "density.start=20000", "density.stop=100000", "density.min_every=10", "density.grow_gradient=1e-6",
    "density.max_gaussians=15000", "tracking=none",
]  # fmt: skip


@pytest.fixture
def tiny() -> list[str]:
    """Overrides of the smallest fit that still passes through every start step and a change of the count."""
    return list(TINY)
