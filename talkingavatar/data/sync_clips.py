"""Face crops and sound of captures at 25 fps, for what learns how lips and sound go together.

The crops of a capture are cut once and kept as a memory map in the cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar.data.capture import RATE, Capture, Span
from talkingavatar.metrics.lipsync.crop import FPS, SIZE, crop_track, detector_boxes, to_25fps
from talkingavatar.paths import cache_root
from talkingavatar.runtime.arrays import damage_told
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.making import making
from talkingavatar.runtime.readers import healed

CROPS_VERSION = 3  # raise when the same capture would give other crops
SAMPLES = RATE // FPS  # of sound, a frame


@dataclass(frozen=True)
class SyncClip:
    """One capture. Spans are (start, stop) in frames at 25 fps, without a cut or an unusable frame inside."""

    name: str
    crops: UInt8[ndarray, "T 224 224 3"]
    samples: Float[ndarray, " N"]
    mouth: Float[ndarray, "T 4"]  # shape of the mouth, normalised over the clip; NaN where it is not known
    train: list[tuple[int, int]]
    test: list[tuple[int, int]]

    def unseen(self) -> SyncClip:
        """The same with nothing to train on: both parts are one, where they meet."""
        spans: list[tuple[int, int]] = []
        for start, stop in sorted(self.train + self.test):
            start = spans.pop()[0] if spans and spans[-1][1] == start else start
            spans.append((start, stop))
        return replace(self, train=[], test=spans)

    def sound(self, start: int, stop: int) -> Float[ndarray, " n"]:
        """Samples of the frames from start to stop."""
        return self.samples[start * SAMPLES : stop * SAMPLES]


def sync_clip(capture: Capture, progress: Callable[[int], Callable[[], None]]) -> SyncClip:
    """The crops are made if they are not in the cache yet; `progress(total)` returns what is called after each.

    Raises:
        UserError: the capture shows no face.
    """
    manifest = capture.manifest
    shown = to_25fps(manifest.frames, manifest.fps)
    spans = {part: _spans(capture, shown, getattr(manifest, part)) for part in ("train", "test")}
    return SyncClip(manifest.name, _crops(capture, shown, progress), capture.audio, _mouth(capture)[shown], **spans)


def face_boxes(capture: Capture) -> Float[ndarray, "T 4"]:
    """What a face detector would find, pixels; without landmarks the head's box."""
    points = capture.landmarks()
    return capture.regions["head"] if points is None else detector_boxes(points)


def _mouth(capture: Capture) -> Float[ndarray, "T 4"]:
    """How far lips (inner, outer) and jaw are open and how wide the mouth is, in units of their spread in the clip."""
    points = capture.landmarks()
    if points is None:
        return np.full((capture.manifest.frames, 4), np.nan)
    xy = points[..., :2].astype(np.float64)
    pairs = ((62, 66), (51, 57), (33, 8), (48, 54))
    lengths = np.stack([np.linalg.norm(xy[:, a] - xy[:, b], axis=-1) for a, b in pairs], 1)
    # The bridge of the nose does not move with the mouth; its length tells how near the face is.
    lengths /= np.linalg.norm(xy[:, 27] - xy[:, 33], axis=-1)[:, None].clip(1e-3)
    middle = np.nanmedian(lengths, 0)
    return ((lengths - middle) / np.nanstd(lengths, 0).clip(1e-6)).clip(-4, 4)


def _spans(capture: Capture, shown: list[int], part: list[Span]) -> list[tuple[int, int]]:
    """Runs of frames at 25 fps that lie in the part and in one shot and are usable."""
    usable = capture.manifest.inside(part)
    shot = np.repeat(range(len(capture.manifest.shots)), [stop - start for start, stop in capture.manifest.shots])
    label = [int(shot[f]) if usable[f] else -1 for f in shown]
    runs, at = [], 0
    for value, members in groupby(label):
        length = len(list(members))
        if value >= 0:
            runs.append((at, at + length))
        at += length
    return runs


def _crops(
    capture: Capture, shown: list[int], progress: Callable[[int], Callable[[], None]]
) -> UInt8[ndarray, "T 224 224 3"]:
    boxes = face_boxes(capture)
    described = (capture.folder.resolve(), (capture.folder / "capture.json").stat().st_mtime_ns, CROPS_VERSION)
    digest = hashlib.sha256(str(described).encode() + boxes.tobytes()).hexdigest()[:16]
    file = cache_root() / "lipsync" / f"{capture.manifest.name}-{digest}.npy"
    shape = (len(shown), SIZE, SIZE, 3)
    kept = _kept(file, shape)
    if kept is None:
        track, tick = crop_track(boxes[shown]), progress(len(shown))
        with making(file.parent) as folder:
            made = folder / "crops.npy"
            crops = np.lib.format.open_memmap(made, mode="w+", dtype=np.uint8, shape=shape)
            with made.open("rb+") as handle:  # a page that a full disk has no room for would end the process
                os.posix_fallocate(handle.fileno(), 0, made.stat().st_size)
            for i, frame in enumerate(shown):
                crops[i] = track.crop(capture.frame(frame), i)
                tick()
            crops.flush()
            made.replace(file)
        kept = np.load(file, mmap_mode="r")
    return kept


def _kept(file: Path, shape: tuple[int, ...]) -> UInt8[ndarray, "T 224 224 3"] | None:
    """Crops of an earlier start; None where there are none, or, said in a line, where they are damaged."""

    def read() -> UInt8[ndarray, "T 224 224 3"]:
        with damage_told(file, "crops of faces", ""):
            crops = np.load(file, mmap_mode="r")
            if crops.shape != shape or crops.dtype != np.uint8:
                raise ValueError(f"{crops.dtype} of shape {crops.shape}")
        return crops

    return healed(read, None, warn) if file.exists() else None
