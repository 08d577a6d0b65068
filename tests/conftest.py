"""Shared fixtures: the cache lives as long as the session's temporary folder unless one is given."""

# ruff: noqa: E402
import os

# Read when torch and numba start: who waits for a core sleeps, and several workers share the cores among their torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))

import importlib
import resource
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from talkingavatar.runtime.command import lasting
from tests.warm import LATE, Command, Warm


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: at any time some test waits, for SLURM, a server or a signal."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """All modules are imported here; each worker has a million objects of theirs."""
    with lasting():
        return (yield)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Others' packages are imported by their own: what checked modules import, jaxtyping has compiled anew."""
    if isinstance(collector, pytest.Session):
        for name in LATE:
            importlib.import_module(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole commands first: they take longest, and no worker shall end long after the others."""
    items.sort(key=lambda item: "behaviour" not in item.path.parts)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all workers, so that the open rig and the embedded capture are made once."""
    given = os.environ.get("TALKINGAVATAR_CACHE")
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # a worker's folder lies in the session's
    folder = Path(given) if given else base.parent / "talkingavatar-cache"
    os.environ["TALKINGAVATAR_CACHE"] = str(folder)
    os.environ.setdefault("WANDB_MODE", "offline")
    return folder


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with Warm() as process:
        yield process


@pytest.fixture
def start(warm, tmp_path: Path):
    """Starts `python -m talkingavatar.<name> ...` as a user would, with runs under the test's folder."""

    def run(name: str, *arguments: str, **environment: str) -> Command:
        return warm.start(name, *arguments, **{"TALKINGAVATAR_RUNS": str(tmp_path / "runs")} | environment)

    return run


@pytest.fixture
def command(start):
    """The same, to its end."""

    def run(name: str, *arguments: str, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        return start(name, *arguments, **environment).finish(timeout)

    return run


def cold(
    name: str, *arguments: str, options: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """The same in a new interpreter, which has everything to import; each command is run so in some test."""
    words = [sys.executable, *options, "-m", f"talkingavatar.{name}", *arguments]
    environment = os.environ | environment
    return subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment, check=False)


def imports_first(name: str, *arguments: str) -> subprocess.Popen:
    """The same, started only: to be killed while it imports."""
    words = [sys.executable, "-m", f"talkingavatar.{name}", *arguments]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def quick_help(name: str) -> str:
    """What `--help` prints, at once: in less than two seconds of a processor, whatever else runs, and without torch."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    done = cold(name, "--help", options=("-X", "importtime"))
    assert done.returncode == 0 and spent() - before < 2.0
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "runpy" in imported
    assert not imported & {"torch", "lightning", "numba", "wandb", "transformers"}
    return done.stdout


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """A file may hold so many bytes in this process: writing beyond fails as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


TINY = [
    "data.seconds=2", "data.size=64", "budget.name=tiny", "budget.steps=40", "budget.warmup=8",
    "budget.heldout_frames=2", "budget.media_frames=3", "trainer.checkpoint_every=7", "trainer.preview_every=20",
    "density.start=20000", "density.stop=100000", "density.min_every=10", "density.grow_gradient=1e-6",
    "density.max_gaussians=16000", "tracking=none", "trainer.accelerator=cpu",
]  # fmt: skip


@pytest.fixture
def tiny() -> list[str]:
    """Overrides of the smallest fit that still passes through every start step and a change of the count."""
    return list(TINY)
