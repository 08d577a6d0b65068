"""gsplat's CUDA kernels: compiled once for a kind of GPU, in minutes, and loaded from a file of our own.

Left to itself, gsplat compiles in the middle of the first step, in a folder that all processes share: it deletes it as
long as no library lies there, also under another process that is compiling, and compiles in place for another GPU. Here
the library appears under a name that tells what it was made for, whole or not at all, on whatever file system; the lock
only spares others the work (it may not hold between machines).
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ExtensionFileLoader
from importlib.metadata import version
from pathlib import Path

import torch

from talkingavatar import paths
from talkingavatar.errors import UserError

NAME = "gsplat_cuda"  # of the library as gsplat compiles it
COMPILE = "import sys; from gsplat.cuda._backend import _C; sys.exit(_C is None)"
INSTEAD = "or use trainer=cpu"


@cache
def load_kernels() -> None:
    """Make gsplat's kernels ready; compiles them where nobody has for such a GPU, or waits for who does.

    Raises:
        UserError: there is no CUDA toolkit, or it cannot compile or load them.
    """
    if importlib.util.find_spec("gsplat") is None:
        raise UserError("gsplat", "not installed", "the CUDA rasteriser", f"pip install gsplat, {INSTEAD}")
    if _came_compiled():
        return
    file = library()
    build_once(file, lambda scratch: compiled(scratch, file.with_suffix(".log")))
    _put_in_place(file)


def library() -> Path:
    """Where the kernels lie that this gsplat and torch make for the GPUs at hand."""
    made_by = f"gsplat{version('gsplat')}-torch{torch.__version__}-{sysconfig.get_config_var('SOABI')}"
    return paths.cache_root() / "kernels" / f"{made_by}-{architectures().replace(';', '-')}.so"


def architectures() -> str:
    """`$TORCH_CUDA_ARCH_LIST`, else what the visible GPUs are: "8.0;9.0"."""
    if given := os.environ.get("TORCH_CUDA_ARCH_LIST"):
        return given.replace(" ", ";")
    found = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    return ";".join(f"{major}.{minor}" for major, minor in sorted(found))


def build_once(file: Path, build: Callable[[Path], Path]) -> None:
    """Let `file` be there, whole: made by `build`, which is given a scratch folder, unless another process made it."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(file.with_suffix(".lock")):
        if file.exists():
            return
        _remove_forgotten(file)
        scratch = Path(tempfile.mkdtemp(prefix=f".{file.stem}-", dir=file.parent))
        try:
            build(scratch).replace(file)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _remove_forgotten(file: Path) -> None:
    """Scratch folders of builds that were killed: those that nobody has written to for a day."""
    for scratch in file.parent.glob(f".{file.stem}-*"):
        if time.time() - scratch.stat().st_mtime > 24 * 3600:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _one_at_a_time(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("gsplat: waiting for another process to compile the CUDA kernels", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks: each compiles its own
        yield


def compiled(scratch: Path, log: Path) -> Path:
    """The library, compiled by gsplat in a process of its own, which writes what compilers say into `log`.

    Raises:
        UserError: there is no CUDA toolkit, or it cannot.
    """
    wanted = f"a CUDA toolkit {torch.version.cuda} (nvcc)"
    if (nvcc := _nvcc()) is None:
        found = "not compiled, and no CUDA toolkit to do so"
        action = f"install {wanted} and set CUDA_HOME, {INSTEAD}"
        raise UserError("gsplat's CUDA kernels", found, wanted, action)
    print(f"gsplat: compiling the CUDA kernels for {architectures()}, once: minutes", file=sys.stderr, flush=True)
    settings = {"TORCH_EXTENSIONS_DIR": str(scratch), "TORCH_CUDA_ARCH_LIST": architectures()}
    if (home := _home(nvcc)) is not None:
        settings["CUDA_HOME"] = str(home)
    # gsplat would start ten compilers wherever it is, of about 1 GB each.
    settings["MAX_JOBS"] = os.environ.get("MAX_JOBS", str(len(os.sched_getaffinity(0))))
    # Also where the environment is not activated, ninja lies beside its Python.
    settings["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with log.open("w") as output:
        command = [sys.executable, "-c", COMPILE]
        done = subprocess.run(command, env=os.environ | settings, stdout=output, stderr=output, check=False)
    made = next(scratch.rglob(f"{NAME}.so"), None)
    if done.returncode != 0 or made is None:
        lines = log.read_text().strip().splitlines() or [f"exit code {done.returncode}"]
        told = next((line for line in lines if " error: " in line), lines[-1])  # a compiler's, else Python's
        raise UserError("gsplat's CUDA kernels", f"not compiled: {told}", wanted, f"see {log}, {INSTEAD}")
    return made


def _nvcc() -> str | None:
    from torch.utils.cpp_extension import CUDA_HOME

    own = None if CUDA_HOME is None else Path(CUDA_HOME, "bin", "nvcc")
    return str(own) if own is not None and own.is_file() else shutil.which("nvcc")


def _home(nvcc: str) -> Path | None:
    """Where the toolkit lies of which this is the compiler, as it tells: on the PATH may be a script that calls it,
    and torch would look for headers beside that. None where it does not tell."""
    told = subprocess.run(
        [nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True, check=False
    ).stderr
    top = re.search(r"TOP=(\S+)", told)
    home = None if top is None else Path(top[1]).resolve()
    return home if home is not None and (home / "include" / "cuda_runtime.h").is_file() else None


def _came_compiled() -> bool:
    """Whether gsplat was installed with its kernels. Its package is not imported for that, which may compile them."""
    spec = importlib.util.find_spec("gsplat")
    folders = [] if spec is None else spec.submodule_search_locations or []
    return any(file for folder in folders for file in Path(folder).glob("csrc*.so"))


def _put_in_place(file: Path) -> None:
    """Load the library as `gsplat.csrc`, where gsplat looks for kernels before it compiles any.

    Raises:
        UserError: it does not load.
    """
    spec = importlib.util.spec_from_file_location(NAME, file, loader=ExtensionFileLoader(NAME, str(file)))
    assert spec is not None and spec.loader is not None
    try:
        kernels = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(kernels)
    except ImportError as error:
        raise UserError(str(file), str(error), "gsplat's CUDA kernels", f"remove it, {INSTEAD}") from error
    sys.modules["gsplat.csrc"] = kernels
