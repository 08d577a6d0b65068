"""MediaPipe as a landmark source: face mesh with iris, hands, pose and a coarse person mask."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy import ndarray
from numpy.lib.recfunctions import repack_fields

from talkingavatar.preprocessing.landmarks.detections import keypoints
from talkingavatar.preprocessing.landmarks.mediapipe_process import interpreter, track
from talkingavatar.preprocessing.landmarks.source import Pictures, ProgressFunction, Seen

PIECE = 200  # frames kept as one file, so that an interrupted run continues from the last


def say(message: str) -> None:
    """A line to the user, at once."""
    print(message, file=sys.stderr, flush=True)


class MediaPipe:
    """The default source; works from its wheel, in an environment of its own.

    Args:
        announce: is told, in one line, when that environment has to be made first.
    """

    name, version = "mediapipe", 2

    def __init__(self, announce: Callable[[str], None] = say) -> None:
        self.announce = announce

    def detect(self, clip: Pictures, folder: Path, progress: ProgressFunction) -> Seen:
        """See `LandmarkSource.detect`. Trackers start afresh with every shot and every piece."""
        python = interpreter(self.announce)
        advance = progress("landmarks", clip.frames)
        files = []
        for first, last in _pieces(clip.shots):
            file = folder / f"{first:06d}-{last:06d}.npy"
            if not file.is_file():
                _write(file, _counted(track(islice(clip.source_frames(first), last - first), python), advance))
            else:
                for _ in range(first, last):
                    advance()
            files.append(file)
        pieces = [np.load(file, mmap_mode="r") for file in files]
        # The masks are most of a record: they are read and joined by themselves.
        names = [name for name in pieces[0].dtype.names if name != "mask"]
        records = np.concatenate([repack_fields(piece[names]) for piece in pieces])
        masks = np.concatenate([piece["mask"] for piece in pieces])
        width, height = _source_size(clip)
        return Seen(keypoints(records, clip.shots, width, height), masks)


def _pieces(shots: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, stop in shots:
        for first in range(start, stop, PIECE):
            yield first, min(stop, first + PIECE)


def _counted(records: Iterator[ndarray], advance: Callable[[], None]) -> Iterator[ndarray]:
    for record in records:
        yield record
        advance()


def _write(file: Path, records: Iterator[ndarray]) -> None:
    """Under another name until it is whole."""
    temporary = file.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        np.save(stream, np.array(list(records)))
    temporary.replace(file)


def _source_size(clip: Pictures) -> tuple[int, int]:
    scale_x, scale_y, _, _ = clip.to_capture
    return round(clip.width / scale_x), round(clip.height / scale_y)
