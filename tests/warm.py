"""Commands as processes that need not import anything: a warm process has, and forks each of them.

A command is a process like any other, with its own pid, folder, environment, output, signals and exit code; only its
imports, most of a small command's time, are paid once for all. The tests hold one end of a socket, the warm process the
other.
"""

import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import talkingavatar
from talkingavatar.config.compose import compose
from talkingavatar.runtime.command import lasting

# What functions of the package import, not its modules. Without W&B, which makes a folder when it is imported: the
# first command to end would remove it.
LATE = (
    "anny", "lightning", "lpips", "matplotlib.backends.backend_agg", "matplotlib.figure", "scipy.optimize", "smplx",
    "torchmetrics", "torchvision",
)  # fmt: skip
LONGEST = 1 << 17  # bytes of an order: arguments and an environment


class Warm:
    """The warm process as the tests see it. Use it as a context: it ends with it."""

    def __enter__(self) -> "Warm":
        self.orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[1],
            )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        self.orders.close()
        self.process.wait()

    def start(self, name: str, *arguments: str, **environment: str) -> "Command":
        """`python -m talkingavatar.<name> <arguments>` in this process's folder, with nothing to read."""
        words = [f"talkingavatar.{name}", *arguments]
        output, errors = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 (closed with the command)
        order = {"words": words, "environment": os.environ | environment, "folder": str(Path.cwd())}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(
                self.orders, [json.dumps(order).encode()], [theirs.fileno(), output.fileno(), errors.fileno()]
            )
        return Command(words, ours, output, errors)


class Command:
    """A command under way: what the tests need of a `subprocess.Popen`."""

    def __init__(self, words: list[str], watcher: socket.socket, *files: "tempfile._TemporaryFileWrapper") -> None:
        self.words, self.watcher, self.files = words, watcher, files
        self.pid = int(watcher.recv(16))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.watcher.settimeout(timeout)
            try:
                self.returncode = int(self.watcher.recv(16))
            except (BlockingIOError, TimeoutError) as error:
                raise subprocess.TimeoutExpired(self.words, timeout or 0) from error
            self.watcher.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def finish(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """What it printed and its exit code; killed when the seconds are over."""
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        for file in self.files:
            file.seek(0)
        output, errors = (file.read().decode() for file in self.files)
        return subprocess.CompletedProcess(self.words, self.wait(), output, errors)


def import_everything() -> None:
    """All that a command imports, and the default presets; no command itself, and no thread of torch or numba."""
    for name in LATE:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(talkingavatar.__path__, "talkingavatar."):
        if module.ispkg or module.name.count(".") > 1:
            importlib.import_module(module.name)
    compose([])  # the presets' files, and what Hydra imports to read them


def serve(orders: socket.socket) -> dict | None:
    """Carry out order after order until the tests have ended. In the process of a command, return its order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, to all at once: the tests end in their own way
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no watcher stays as a zombie
    while True:
        order, files, _, _ = socket.recv_fds(orders, LONGEST, 3)
        if not order:
            return None
        if os.fork() == 0:
            watch(*files)
            orders.close()
            return json.loads(order)
        for file in files:
            os.close(file)


def watch(teller: int, output: int, errors: int) -> None:
    """Fork the command and tell its pid, in the end its exit code. Comes back in the command alone."""
    told = socket.socket(fileno=teller)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():
        told.send(str(pid).encode())
        told.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        os._exit(0)
    told.close()
    for file, number in ((output, 1), (errors, 2)):
        os.dup2(file, number)
        os.close(file)


def become(words: list[str], environment: dict[str, str], folder: str) -> None:
    """Go on as `python -m <words>`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(words)  # the first becomes the file's name
    sys.orig_argv = [sys.executable, "-m", *words]
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the commands do, before torch and numba read it
    with lasting():  # what is never collected is never copied
        import_everything()
    if order := serve(socket.socket(fileno=int(sys.argv[1]))):
        become(**order)
