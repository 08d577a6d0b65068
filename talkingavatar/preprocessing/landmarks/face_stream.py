"""Face landmarks of pictures that come one by one, from MediaPipe's face mesh in its own process."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar.preprocessing.landmarks import mediapipe_worker as worker
from talkingavatar.preprocessing.landmarks.maps import FACE68
from talkingavatar.preprocessing.landmarks.mediapipe_process import interpreter, start_worker

DETECTOR = "mediapipe 0.10.21 face mesh"


class FaceStream:
    """Takes crops of one size that show one face; works beside whoever makes them.

    Args:
        announce: is told, in one line, when MediaPipe's environment has to be made first.

    Raises:
        UserError: MediaPipe cannot be had.
    """

    def __init__(self, width: int, height: int, announce: Callable[[str], None] = lambda message: None) -> None:
        python = interpreter(announce)
        self.opened = ExitStack()
        self.log = self.opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the stream
        self.process = start_worker(python, (width, height, 0, 0), self.log.fileno())
        self.layout = worker.record(0, 0)
        self.answers: list[ndarray] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def add(self, crop: UInt8[ndarray, "h w 3"]) -> None:
        """The next picture."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(np.ascontiguousarray(crop).data)
        except BrokenPipeError as error:
            raise RuntimeError(self._complaint()) from error

    def finish(self) -> Float[ndarray, "T 68 3"]:
        """x, y in pixels of the crops, confidence; NaN and 0 where no face was found."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.reader.join()
        if self.process.wait():
            raise RuntimeError(self._complaint())
        self.opened.close()
        points = np.full((len(self.answers), 68, 3), np.nan, np.float32)
        points[..., 2] = 0.0
        for row, answer in zip(points, self.answers, strict=True):
            if answer["mesh_score"] > 0:
                row[:, :2], row[:, 2] = answer["mesh"][list(FACE68)], answer["mesh_score"]
        return points

    def close(self) -> None:
        """End early."""
        self.process.kill()
        self.reader.join()
        self.opened.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while len(answer := self.process.stdout.read(self.layout.itemsize)) == self.layout.itemsize:
            self.answers.append(np.frombuffer(answer, self.layout)[0])

    def _complaint(self) -> str:
        self.log.seek(0)
        return f"MediaPipe's process ended with {self.process.wait()}: {self.log.read()[-600:].decode()}"
