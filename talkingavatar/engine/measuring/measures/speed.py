"""How fast a fitted avatar goes from sound to pixels, part by part."""

from __future__ import annotations

import resource
import sys
import time
from statistics import median
from typing import ClassVar

import torch

from talkingavatar.audio.features import audio_features
from talkingavatar.data.capture import RATE
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine.measuring.measure import Findings, Measure
from talkingavatar.methods.base import Method

SOUND = 4.0  # seconds of it that features are made of


class Speed(Measure):
    """Frames a second, and memory; of a few frames at the end of a fit."""

    keys = ("speed",)
    needs = ("avatar",)
    of_run = True
    at_end = True
    definitions: ClassVar = {"speed": "1 / median seconds of a frame after a warm-up, at the capture's size"}

    def finish(self, found: Findings, truth: Findings) -> Findings:
        avatar = self.setting.avatar
        assert avatar is not None
        few = {"frames": 10, "warm_up": 2} if self.setting.brief else {}
        return Findings(measure_speed(avatar.method, avatar.data, **few))


@torch.no_grad()
def measure_speed(method: Method, data: CaptureData, frames: int = 40, warm_up: int = 5) -> dict[str, float]:
    """Frames a second of audio features, driving, rasterising and all together; peak memory in MB.

    A rate is 1 / median seconds over `frames` frames, after a warm-up, at the capture's size; pictures are not encoded.
    """
    chosen = data.capture.test_frames
    chosen = (chosen * -(-(frames + warm_up) // len(chosen)))[: frames + warm_up]
    spent: dict[str, list[float]] = {"drive": [], "raster": []}
    for i, frame in enumerate(chosen):
        signal, cameras = data.signal([frame]).to(method.device), data.capture.cameras([frame]).to(method.device)
        began = _now(method.device)
        gaussians = method.drive(signal)
        driven = _now(method.device)
        method.render(gaussians, cameras)
        if i >= warm_up:
            spent["drive"].append(driven - began)
            spent["raster"].append(_now(method.device) - driven)
    seconds = {part: median(values) for part, values in spent.items()}
    if data.config.audio.name != "deepspeech":  # published, not made here
        seconds["audio"] = _audio_seconds(data)
    rates = {f"speed/{part}_fps": 1 / value for part, value in seconds.items()}
    rates["speed/end_to_end_fps"] = 1 / sum(seconds.values())
    return rates | {
        "speed/gaussians": float(len(gaussians)),
        "speed/peak_memory_mb": peak_memory_mb(method.device),
    }


def peak_memory_mb(device: torch.device) -> float:
    """The most this process has held at once: on a CUDA device its memory, else the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _audio_seconds(data: CaptureData) -> float:
    """Of making one frame's features."""
    audio, fps = data.config.audio, data.capture.manifest.fps
    sound = data.capture.audio[: round(SOUND * RATE)]
    frames = max(1, int(len(sound) / RATE * fps))
    began = time.perf_counter()
    audio_features(sound, RATE, fps, frames, audio.name, audio.path, audio.output)
    return (time.perf_counter() - began) / frames


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
