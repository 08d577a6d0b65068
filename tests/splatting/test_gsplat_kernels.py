"""gsplat's kernels are compiled once by processes that start together, and loaded from one whole file."""

import fcntl
import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import torch

from talkingavatar import doctor
from talkingavatar.config.compose import compose
from talkingavatar.engine.experiment import check
from talkingavatar.errors import UserError
from talkingavatar.splatting import gsplat_kernels
from talkingavatar.splatting.gsplat_kernels import build_once, library, load_kernels

WHOLE = b"whole" * 1000
START = "from talkingavatar.splatting.gsplat_kernels import load_kernels; load_kernels()"


def slowly(scratch: Path) -> Path:
    """Writes the library bit by bit, and that it does."""
    with (scratch.parent / "built").open("a") as log:
        log.write("x")
    made = scratch / "made.so"
    with made.open("wb") as file:
        for i in range(10):
            file.write(WHOLE[i * 500 : (i + 1) * 500])
            file.flush()
            time.sleep(0.01)
    return made


def start(file: Path, seen: Path) -> None:
    build_once(file, slowly)
    seen.write_bytes(file.read_bytes())


def together(file: Path, folder: Path) -> list[bytes]:
    """What three processes that start at once find."""
    found = [folder / f"seen{i}" for i in range(3)]
    several = multiprocessing.get_context("fork")
    processes = [several.Process(target=start, args=(file, seen)) for seen in found]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [seen.read_bytes() for seen in found]


def left(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {"built", "a.so", "a.lock"}


def test_one_of_several_processes_builds_for_all(tmp_path):
    folder = tmp_path / "kernels"
    assert together(folder / "a.so", tmp_path) == [WHOLE] * 3
    assert (folder / "built").read_text() == "x" and not left(folder)


def test_without_locks_each_still_finds_a_whole_file(tmp_path, monkeypatch):
    """As on a network file system that knows none."""

    def refuse(*arguments):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = tmp_path / "kernels"
    assert together(folder / "a.so", tmp_path) == [WHOLE] * 3
    assert not left(folder)


def test_a_build_that_fails_leaves_nothing_and_may_be_tried_again(tmp_path):
    def fail(scratch: Path) -> Path:
        (scratch / "made.so").write_bytes(WHOLE[:7])
        raise UserError("kernels", "a mistake", "none", "mend it")

    with pytest.raises(UserError):
        build_once(tmp_path / "a.so", fail)
    assert {file.name for file in tmp_path.iterdir()} == {"a.lock"}
    killed, others = tmp_path / ".a-killed", tmp_path / ".a-under-way"
    for scratch in (killed, others):
        scratch.mkdir()
    os.utime(killed, (0, 0))
    build_once(tmp_path / "a.so", slowly)
    assert (tmp_path / "a.so").read_bytes() == WHOLE and others.is_dir() and not killed.exists()


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """No kernels anywhere yet, for a GPU that is named."""
    monkeypatch.setenv("TALKINGAVATAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0 9.0+PTX")
    monkeypatch.delenv("MAX_JOBS", raising=False)
    monkeypatch.setattr(gsplat_kernels, "_came_compiled", lambda: False)
    monkeypatch.delitem(sys.modules, "gsplat.csrc", raising=False)
    monkeypatch.delitem(sys.modules, "gsplat.cuda._backend", raising=False)
    load_kernels.cache_clear()
    yield tmp_path
    load_kernels.cache_clear()
    sys.modules.pop("gsplat.csrc", None)
    sys.modules.pop("gsplat.cuda._backend", None)


def test_without_a_toolkit_one_line_says_what_to_install(fresh, monkeypatch):
    monkeypatch.setattr(gsplat_kernels, "_nvcc", lambda: None)
    with pytest.raises(UserError) as error:
        load_kernels()
    assert f"install a CUDA toolkit {torch.version.cuda} (nvcc)" in str(error.value)
    assert str(error.value).endswith("or use trainer=cpu") and "\n" not in str(error.value)


def test_doctor_says_why_there_are_no_kernels(fresh, monkeypatch, capsys):
    """And that nothing can be fitted on this GPU."""
    monkeypatch.setattr(gsplat_kernels, "_nvcc", lambda: None)
    row = doctor.KERNELS, doctor._kernels()
    assert row[1].startswith("off: gsplat's CUDA kernels: found not compiled")
    monkeypatch.setattr(doctor, "_surroundings", lambda: iter([row]))
    monkeypatch.setattr(doctor, "_assets", lambda: iter([]))
    assert doctor.report() == 1
    assert capsys.readouterr().out.endswith("cannot fit: gsplat's CUDA kernels (trainer=cpu needs none) missing\n")


def test_a_fit_is_refused_before_anything_is_made(fresh, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(gsplat_kernels, "_nvcc", lambda: None)
    config = compose([])
    for backend, accelerator, told in (
        ("auto", "auto", "gsplat's CUDA kernels: found not compiled.* or use trainer=cpu"),
        ("gsplat", "auto", "gsplat's CUDA kernels: found not compiled.* or use trainer=cpu"),
        ("cpu", "gpu", 'renderer.backend: found "cpu" with tensors on cuda; .* or trainer=cpu'),
        ("gsplat", "cpu", 'renderer.backend: found "gsplat" with tensors on cpu; .*"auto"'),
    ):
        config.renderer.backend, config.trainer.accelerator = backend, accelerator
        with pytest.raises(UserError, match=told):
            check(config)


COMPILER = shutil.which("gcc")
MODULE = """#include <Python.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "gsplat_cuda", "kernels", -1, NULL};
PyMODINIT_FUNC PyInit_gsplat_cuda(void) { return PyModule_Create(&definition); }
"""
BACKEND = """import os, subprocess, sys
assert os.environ["TORCH_CUDA_ARCH_LIST"] == "8.0;9.0+PTX"
assert os.path.isfile(os.path.join(os.environ["CUDA_HOME"], "include", "cuda_runtime.h"))
assert int(os.environ["MAX_JOBS"]) == len(os.sched_getaffinity(0))
folder = os.path.join(os.environ["TORCH_EXTENSIONS_DIR"], "gsplat_cuda")
os.makedirs(folder)
subprocess.run([{compiler!r}, "-shared", "-fPIC", "-I" + {include!r}, {source!r}, "-o", folder + "/gsplat_cuda.so"],
               check=True)
_C = object()
"""


def wrapped_nvcc(folder: Path) -> str:
    """A script elsewhere than the toolkit, as a machine may have on its PATH; it tells as nvcc does where that lies."""
    header, script = folder / "toolkit" / "include" / "cuda_runtime.h", folder / "bin" / "nvcc"
    for place in (header.parent, script.parent, folder / "toolkit" / "bin"):
        place.mkdir(parents=True)
    header.touch()
    script.write_text(f"#!/bin/sh\necho '#$ TOP={folder}/toolkit/bin/..' >&2\n")
    script.chmod(0o755)
    return str(script)


def other_gsplat(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """One whose backend compiles a module for the CPU; for processes that are started, not for this one."""
    package = folder / "packages" / "gsplat" / "cuda"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package.parent / "__init__.py").touch()
    (folder / "kernels.c").write_text(source)
    include = sysconfig.get_path("include")
    names = {"compiler": COMPILER, "include": include, "source": str(folder / "kernels.c")}
    (package / "_backend.py").write_text(BACKEND.format(**names))
    monkeypatch.setenv("PYTHONPATH", str(folder / "packages"))
    monkeypatch.setattr(gsplat_kernels, "_nvcc", lambda: wrapped_nvcc(folder))


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_what_is_compiled_is_what_gsplat_then_loads(fresh, monkeypatch, capfd):
    other_gsplat(fresh, monkeypatch, MODULE)
    load_kernels()
    assert library().is_file() and library().name.endswith("-8.0-9.0+PTX.so")
    assert importlib.import_module("gsplat.cuda._backend")._C.__doc__ == "kernels"
    load_kernels.cache_clear()
    shutil.rmtree(fresh / "packages")
    load_kernels()  # needs no compiler any more
    assert capfd.readouterr().err.count("compiling") == 1


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_what_the_compiler_says_is_kept(fresh, monkeypatch):
    other_gsplat(fresh, monkeypatch, "#error these sources are too old\n")
    with pytest.raises(
        UserError, match=r"not compiled: .* error: .*too old; .*see .*\.log, or use trainer=cpu$"
    ) as error:
        load_kernels()
    log = Path(str(error.value).split("see ")[1].split(", or")[0])
    assert "these sources are too old" in log.read_text() and "\n" not in str(error.value)


def test_a_library_that_does_not_load_is_named(fresh):
    library().parent.mkdir(parents=True)
    library().write_bytes(WHOLE)
    with pytest.raises(UserError, match=r"gsplat.*\.so: found .*; remove it, or use trainer=cpu$"):
        load_kernels()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: gsplat's kernels cannot be compiled")
def test_the_kernels_are_compiled_once_by_three_processes(tmp_path):
    environment = os.environ | {"TALKINGAVATAR_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", START]
    started = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = "".join(process.communicate()[1] for process in started)
    assert [process.returncode for process in started] == [0, 0, 0], told
    assert told.count("compiling the CUDA kernels") == 1
    assert len(list((tmp_path / "kernels").glob("*.so"))) == 1
