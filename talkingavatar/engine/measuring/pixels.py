"""What one video is worth by itself: sync, steadiness, and the landmarks that comparisons need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.data.capture import RATE
from talkingavatar.engine.measuring.held_out import HeldOut
from talkingavatar.engine.measuring.tools import Tools
from talkingavatar.errors import UserError
from talkingavatar.metrics.lipsync.crop import FPS, SIZE, to_25fps
from talkingavatar.metrics.lipsync.scores import sync_scores
from talkingavatar.metrics.motion import JitterMeter, jitter, sample_colours
from talkingavatar.metrics.mouth_sync import MouthTrack
from talkingavatar.preprocessing.landmarks.face_stream import FaceStream

MOUTH = slice(48, 68)
IDENTITY_EVERY = 5  # frames


@dataclass
class VideoScores:
    """Numbers and curves of a video; `landmarks` in pixels of the frame, NaN where no face was found."""

    metrics: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)  # name to [shifts, values]
    landmarks: Float[ndarray, "T 68 3"] | None = None
    identity: Float[ndarray, "n D"] | None = None  # embeddings of every `IDENTITY_EVERY`-th face

    def save(self, file: Path) -> None:
        text = json.dumps([self.metrics, self.skipped, self.curves])
        tables = {"landmarks": self.landmarks, "identity": self.identity}
        temporary = file.with_suffix(".tmp.npz")
        known = {name: table for name, table in tables.items() if table is not None}
        np.savez(temporary, allow_pickle=False, text=np.array(text), **known)
        temporary.replace(file)

    @staticmethod
    def load(file: Path) -> VideoScores:
        with np.load(file) as archive:
            metrics, skipped, curves = json.loads(str(archive["text"]))
            tables = {name: archive[name] for name in ("landmarks", "identity") if name in archive}
        return VideoScores(metrics, skipped, curves, **tables)


class VideoMeasure:
    """Takes the pictures of all held-out frames in order. What it keeps of one is a few kilobytes."""

    def __init__(self, held: HeldOut, tools: Tools) -> None:
        self.held, self.tools = held, tools
        self.count = 0
        self.mouth = MouthTrack()
        self.colours = JitterMeter()
        self.embeddings: list[Float[ndarray, " D"]] = []
        self.faces = FaceStream(SIZE, SIZE) if tools.landmarks else None
        self.lips = tools.syncnet.lip_stream() if tools.syncnet else None
        # SyncNet hears one stretch of sound without a cut: the longest.
        self.longest = max(held.shots, key=lambda shot: shot[1] - shot[0])
        start, stop = self.longest
        self.repeats = np.bincount(to_25fps(stop - start, held.fps), minlength=stop - start)

    def __enter__(self) -> VideoMeasure:
        return self

    def __exit__(self, *error: object) -> None:
        if self.faces is not None:
            self.faces.close()

    def add(self, image: Float[Tensor, "H W 3"]) -> None:
        """The next frame, values in [0, 1]."""
        i, held = self.count, self.held
        self.count += 1
        image = image.clamp(0, 1)
        if any(start == i for start, _ in held.shots[1:]):
            self.colours.cut()
        self.mouth.add(image, held.mouths[i])
        self.colours.add(255 * sample_colours(image, held.skin[i]))
        if self.tools.embedder is not None and held.marks is not None and i % IDENTITY_EVERY == 0:
            self.embeddings.append(self.tools.embedder(image, held.marks[i, :, :2]))
        heard = self.lips is not None and self.longest[0] <= i < self.longest[1]
        if self.faces is None and not heard:
            return
        crop = held.track.crop(to_bytes(image), i)
        if self.faces is not None:
            self.faces.add(crop)
        if self.lips is not None and heard:
            for _ in range(self.repeats[i - self.longest[0]]):
                self.lips.add(crop)

    def finish(self) -> VideoScores:
        """
        Raises:
            UserError: fewer or more pictures than frames were given.
        """
        if self.count != len(self.held.frames):
            found = f"{self.count} pictures"
            raise UserError("video", found, f"{len(self.held.frames)}, one a held-out frame", "measure all of them")
        scores = VideoScores()
        self._mouth_sync(scores)
        self._syncnet(scores)
        if self.embeddings:
            scores.identity = np.stack(self.embeddings)
        scores.metrics["jitter/colours"] = self.colours.value()
        if self.faces is not None:
            marks = in_frame(self.faces.finish(), self.held)
            scores.landmarks = marks
            points = seen_points(marks)
            scores.metrics["jitter/landmarks_px"] = jitter(points, self.held.shots)
            scores.metrics["jitter/mouth_px"] = jitter(points[:, MOUTH], self.held.shots)
        scores.metrics = dict(finite(scores.metrics, scores.skipped))
        return scores

    def _mouth_sync(self, scores: VideoScores) -> None:
        found = self.mouth.sync(self.held.sound, self.held.fps, self.held.shots)
        if found.offset is None:
            scores.skipped["mouth_sync"] = found.why
            return
        scores.metrics |= {
            "mouth_sync/offset": found.offset,
            "mouth_sync/r": found.r,
            "mouth_sync/confidence": found.confidence,
        }
        scores.curves["mouth_sync"] = [found.shifts.tolist(), found.curve.tolist()]

    def _syncnet(self, scores: VideoScores) -> None:
        if self.lips is None or self.tools.syncnet is None:
            return
        lips = self.lips.finish()
        before = sum(stop - start for start, stop in self.held.shots if stop <= self.longest[0])
        start, length = round(before / self.held.fps * RATE), self.longest[1] - self.longest[0]
        sound = self.held.sound[start : start + round(length / self.held.fps * RATE)]
        if len(lips) < FPS:
            scores.skipped["sync"] = f"no shot of the held-out frames is as long as {FPS + 5} frames at {FPS} fps"
            return
        found = sync_scores(lips, self.tools.syncnet.audio_embeddings(sound))
        scores.metrics |= {"sync/ao": float(found.ao), "sync/md": found.md, "sync/conf": found.conf}
        reach = len(found.curve) // 2
        # AO is 15 less the place of the minimum: positive where sound leads.
        scores.curves["sync"] = [[float(reach - j) for j in range(len(found.curve))], list(found.curve)]


def to_bytes(image: Float[Tensor, "H W 3"]) -> UInt8[ndarray, "H W 3"]:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def in_frame(marks: Float[ndarray, "T 68 3"], held: HeldOut) -> Float[ndarray, "T 68 3"]:
    """From pixels of the crops to those of the frames."""
    half, side = held.track.half[:, None], 2.8 * held.track.half[:, None] / SIZE
    moved = marks.copy()
    moved[..., 0] = marks[..., 0] * side + held.track.x[:, None] - 1.4 * half
    moved[..., 1] = marks[..., 1] * side + held.track.y[:, None] - half
    return moved


def seen_points(marks: Float[ndarray, "T N 3"]) -> Float[ndarray, "T N 2"]:
    """Landmarks without their confidence, NaN where they were not found."""
    return np.where(marks[..., 2:] > 0, marks[..., :2], np.nan)


def finite(metrics: dict[str, Any], skipped: dict[str, str]) -> Iterator[tuple[str, float]]:
    """Numbers as such; what is NaN is skipped with a reason, never a silent gap."""
    for key, value in metrics.items():
        if np.isfinite(value):
            yield key, float(value)
        else:
            skipped.setdefault(key, "nothing to measure it on was seen")
