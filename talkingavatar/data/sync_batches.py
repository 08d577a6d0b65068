"""Batches for SyncNet: windows of lips and sound from several places of several clips, slightly varied.

The first steps of a training see the middle of the crops alone, where the mouth is: a sixth of the work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from talkingavatar.data.sampler import StepLoader
from talkingavatar.data.sync_clips import SyncClip
from talkingavatar.errors import UserError
from talkingavatar.losses.contrast import ELSEWHERE
from talkingavatar.metrics.lipsync.crop import SIZE
from talkingavatar.metrics.lipsync.mfcc import mfcc
from talkingavatar.metrics.lipsync.syncnet import as_clip, audio_windows
from talkingavatar.networks.syncnet import WINDOW

MIDDLE = (64, 160)  # rows and columns of a crop where the mouth is


class SyncBatch(NamedTuple):
    """N windows in sync; S is 224, or 96 for the middle alone.

    `apart[i, j]`: frames between windows i and j, `ELSEWHERE` for different clips.
    """

    lips: Float[Tensor, "N 3 5 S S"]
    audio: Float[Tensor, "N 1 13 20"]
    mouth: Float[Tensor, "N 20"]  # its shape in the five frames, see `SyncClip`
    apart: Int[Tensor, "N N"]


@dataclass(frozen=True)
class Variation:
    """How far what is trained on may differ from what was recorded."""

    move: float = 0.05  # share of the side by which a crop is moved at most, to each side
    size: float = 0.08  # share by which it is made smaller or larger at most
    light: float = 0.2  # share by which brightness and each colour change at most
    gain: float = 6.0  # decibel of loudness
    noise: float = 0.01  # highest level of added noise, in [-1, 1]


@dataclass(frozen=True)
class Shape:
    """What a step sees: `places` of `windows` each, which lie within `reach` frames."""

    places: int = 8
    windows: int = 3
    reach: int = 12
    middle_steps: int = 0  # first steps, which see the middle of the crops alone
    variation: Variation = field(default_factory=Variation)


class SyncData(L.LightningDataModule):
    """Serves clips to SyncNet's training: the batch of a step depends on the seed and the step alone."""

    def __init__(self, clips: list[SyncClip], shape: Shape, seed: int, steps: int) -> None:
        """
        Raises:
            UserError: no clip has a training span that is long enough.
        """
        super().__init__()
        self.clips, self.shape, self.seed, self.steps = clips, shape, seed, steps
        shortest = shape.windows + WINDOW
        self.places = [[s for s in clip.train if s[1] - s[0] >= shortest] for clip in clips]
        if short := [clip.name for clip, spans in zip(clips, self.places, strict=True) if not spans]:
            expected = f"{shortest} frames at 25 fps in a row"
            raise UserError("data", f"{', '.join(short)}: no training part as long", expected, "give longer captures")

    def train_dataloader(self) -> StepLoader[SyncBatch]:
        return StepLoader(self.batch, self.steps)

    def batch(self, step: int) -> SyncBatch:
        """The clips take turns, so that each step's normalisation sees as many of them as it can."""
        draw = np.random.default_rng([self.seed, step])
        order, parts, starts, numbers = draw.permutation(len(self.clips)), [], [], []
        for number in range(self.shape.places):
            which = int(order[(number + step) % len(order)])
            span = self.places[which][draw.integers(len(self.places[which]))]
            chosen = self._positions(span, draw)
            region = MIDDLE if step < self.shape.middle_steps else (0, SIZE)
            parts.append(self._windows(self.clips[which], chosen, region, draw))
            starts.append(chosen)
            numbers.append(np.full(len(chosen), which))
        return _joined(parts, starts, numbers)

    def heldout(self, windows: int = 8) -> SyncBatch | None:
        """Evenly spread windows of every clip's longest held-out span, unvaried; None where no span is long enough."""
        parts, starts, numbers = [], [], []
        for number, clip in enumerate(self.clips):
            first, stop = max(clip.test, key=lambda span: span[1] - span[0], default=(0, 0))
            if stop - first > WINDOW:
                chosen = np.unique(np.linspace(first, stop - WINDOW - 1, windows).astype(int))
                lips = [as_clip(np.asarray(clip.crops[s : s + WINDOW])) for s in chosen]
                columns = torch.from_numpy(mfcc(clip.sound(first, stop))).float()
                sound = audio_windows(columns, torch.from_numpy(chosen - first))
                parts.append((torch.cat(lips), sound, _mouth_of(clip, chosen)))
                starts.append(chosen)
                numbers.append(np.full(len(chosen), number))
        if not parts:
            return None
        return _joined(parts, starts, numbers)

    def _positions(self, span: tuple[int, int], draw: np.random.Generator) -> Int[ndarray, " n"]:
        """Distinct first frames within `reach` of each other."""
        last = span[1] - WINDOW - 1  # the last columns of sound reach a little past the frames
        width = min(self.shape.reach, last - span[0] + 1)
        first = int(draw.integers(span[0], last - width + 2))
        return first + np.sort(draw.choice(width, self.shape.windows, replace=False))

    def _windows(
        self, clip: SyncClip, starts: Int[ndarray, " n"], region: tuple[int, int], draw: np.random.Generator
    ) -> tuple[Float[Tensor, "n 3 5 S S"], Float[Tensor, "n 1 13 20"], Float[Tensor, "n 20"]]:
        first, stop = int(starts[0]), int(starts[-1]) + WINDOW
        crops = as_clip(np.asarray(clip.crops[first:stop]))[0]
        frames = _varied_frames(crops, region, self.shape.variation, draw)
        sound = _varied_sound(clip.sound(first, stop + 1), self.shape.variation, draw)
        lips = torch.stack([frames[:, s - first : s - first + WINDOW] for s in starts])
        heard = audio_windows(torch.from_numpy(mfcc(sound)).float(), torch.from_numpy(starts - first))
        return lips, heard, _mouth_of(clip, starts)


def _mouth_of(clip: SyncClip, starts: Int[ndarray, " n"]) -> Float[Tensor, "n 20"]:
    return torch.from_numpy(np.stack([clip.mouth[s : s + WINDOW].ravel() for s in starts])).float()


def _joined(
    parts: list[tuple[Tensor, Tensor, Tensor]], starts: list[Int[ndarray, " n"]], clips: list[Int[ndarray, " n"]]
) -> SyncBatch:
    """One batch of the windows of several places, given by their first frames and their clips' numbers."""
    lips, audio, mouth = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    start, number = (torch.from_numpy(np.concatenate(parts)) for parts in (starts, clips))
    apart = start[:, None] - start
    return SyncBatch(lips, audio, mouth, torch.where(number[:, None] == number, apart, ELSEWHERE))


def _varied_frames(
    crops: Float[Tensor, "3 T 224 224"], region: tuple[int, int], variation: Variation, draw: np.random.Generator
) -> Float[Tensor, "3 T S S"]:
    """Rows and columns `region` of the varied crops. One change for all frames: nothing may move that did not."""
    side = region[1] - region[0]
    scale = (1 + variation.size * draw.uniform(-1, 1)) * side / SIZE
    flip = -1 if draw.random() < 0.5 else 1
    middle = (region[0] + region[1]) / SIZE - 1
    x, y = (middle + 2 * variation.move * draw.uniform(-1, 1) for _ in range(2))
    change = torch.tensor([[flip * scale, 0, x], [0, scale, y]], dtype=torch.float32)
    frames = crops.transpose(0, 1)
    grid = affine_grid(change.expand(len(frames), 2, 3), [len(frames), 3, side, side], align_corners=False)
    frames = grid_sample(frames, grid, padding_mode="border", align_corners=False)
    light = 1 + variation.light * (draw.uniform(-1, 1, 3) + draw.uniform(-1, 1)) / 2
    return (frames * torch.from_numpy(light).float()[:, None, None]).clamp(0, 255).transpose(0, 1)


def _varied_sound(
    samples: Float[ndarray, " n"], variation: Variation, draw: np.random.Generator
) -> Float[ndarray, " n"]:
    gain = 10 ** (variation.gain * draw.uniform(-1, 1) / 20)
    # Levels spread over decades; half of the sound stays as clean as it was recorded.
    level = variation.noise * 10 ** draw.uniform(-3, 0) * (draw.random() < 0.5)
    return (gain * samples + level * draw.standard_normal(len(samples))).clip(-1, 1)
