"""MediaPipe as a landmark source: a worker process in its own environment, fed raw frames, answering records."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from talkingavatar.preprocessing.landmarks import mediapipe_worker as worker
from talkingavatar.preprocessing.landmarks.environment import MEDIAPIPE, python_with

Frame = UInt8[ndarray, "h w 3"]
MASK = 384  # longer side of the coarse mask, pixels
CHECK = "from mediapipe.python.solutions import holistic"
ACTION = (
    "connect to a package index once (pip's own settings hold), or bring your own landmarks and mattes: "
    "landmarks=openpose or landmarks=openface"
)


def interpreter(announce: Callable[[str], None] = lambda message: None) -> Path:
    """MediaPipe's own Python, made on first use. Raises UserError where it cannot be made."""
    return python_with("mediapipe", MEDIAPIPE, CHECK, ACTION, announce)


def mask_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the coarse mask of frames of this size."""
    scale = min(1.0, MASK / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def track(frames: Iterable[Frame], python: Path) -> Iterator[ndarray]:
    """One record (`mediapipe_worker.record`) per frame. The trackers start afresh: call once per shot.

    Args:
        frames: all of one size.
        python: `interpreter()`.

    Raises:
        RuntimeError: the worker ended early; what it last said is part of the message.
    """
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        return
    height, width = first.shape[:2]
    mask = mask_size(width, height)
    layout = worker.record(*mask)
    with tempfile.TemporaryFile() as log, start_worker(python, (width, height, *mask), log.fileno()) as process:
        assert process.stdin is not None and process.stdout is not None
        feeder = Feeder(chain([first], stream), process)
        try:
            while answer := process.stdout.read(layout.itemsize):
                if len(answer) < layout.itemsize:
                    break
                yield np.frombuffer(answer, layout)[0]
            feeder.join()
            if process.wait() or answer:
                log.seek(0)
                raise RuntimeError(f"MediaPipe's process ended with {process.returncode}: {log.read()[-600:].decode()}")
        finally:
            process.kill()
            feeder.stop()


class Feeder(threading.Thread):
    """Writes frames to the worker while its answers are read; an error of the frames comes up in `join`."""

    def __init__(self, frames: Iterator[Frame], process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.frames, self.process = frames, process
        self.error: Exception | None = None
        self.stopped = False
        self.start()

    def run(self) -> None:
        assert self.process.stdin is not None
        try:
            for frame in self.frames:
                if self.stopped:
                    return
                self.process.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            return  # the worker is gone; its own message tells why
        except Exception as error:
            self.error = error
        finally:
            self._close()

    def _close(self) -> None:
        try:
            assert self.process.stdin is not None
            self.process.stdin.close()
        except BrokenPipeError:
            return

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """After the worker was ended: the frames' iterator is no longer touched when this returns."""
        self.stopped = True
        super().join()


def start_worker(python: Path, numbers: tuple[int, ...], log: int) -> subprocess.Popen[bytes]:
    """The worker with these arguments; `log` is a file descriptor for what it says."""
    quiet = {"GLOG_minloglevel": "3", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "agg"}
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.Popen(
        [str(python), "-I", worker.__file__, *map(str, numbers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment | quiet,
    )
