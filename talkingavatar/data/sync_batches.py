"""Batches for SyncNet: windows of lips and sound from several places of several clips, varied.

Windows of one place are each other's hard negatives: the same speech by the same face, a few frames apart.
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

from talkingavatar.data.sampler import StepLoader
from talkingavatar.data.sync_clips import SyncClip
from talkingavatar.data.sync_variation import Variation, varied_frames, varied_sound
from talkingavatar.errors import UserError
from talkingavatar.losses.contrast import ELSEWHERE
from talkingavatar.metrics.lipsync.mfcc import mfcc
from talkingavatar.metrics.lipsync.syncnet import as_clip, audio_windows
from talkingavatar.networks.syncnet import WINDOW

MIDDLE = (52, 159)  # rows and columns of a crop where the mouth is: all that is looked at


class SyncBatch(NamedTuple):
    """N windows in sync, of the crops' middle.

    `apart[i, j]`: frames between windows i and j, `ELSEWHERE` for different clips.
    """

    lips: Float[Tensor, "N 3 5 107 107"]
    audio: Float[Tensor, "N 1 13 20"]
    mouth: Float[Tensor, "N 20"]  # its shape in the five frames, see `SyncClip`
    apart: Int[Tensor, "N N"]


@dataclass(frozen=True)
class Shape:
    """What a step sees: of each of some `clips` as many of the `places`, with `windows` each within `reach` frames.

    Windows of one clip alone are told apart, so that few clips with many places teach more than many with few.
    What is varied much tells a network that knows nothing nothing: the variation grows over the first `eased` steps.
    """

    places: int = 8
    windows: int = 3
    reach: int = 12
    eased: int = 0
    clips: int = 4
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
        """A step's clips take turns; each place is varied as far as chance has it, none to as far as may be."""
        draw = np.random.default_rng([self.seed, step])
        order, parts, starts, numbers = draw.permutation(len(self.clips))[: self.shape.clips], [], [], []
        for number in range(self.shape.places):
            which = int(order[(number + step) % len(order)])
            span = self.places[which][draw.integers(len(self.places[which]))]
            chosen = self._positions(span, draw)
            variation = self._variation(step).scaled(draw.random())
            parts.append(self._windows(self.clips[which], chosen, variation, draw))
            starts.append(chosen)
            numbers.append(np.full(len(chosen), which))
        return _joined(parts, starts, numbers)

    def heldout(self, windows: int = 8) -> SyncBatch | None:
        """Evenly spread windows of every clip's longest held-out span, unvaried; None where no span is long enough."""
        return self._even([clip.test for clip in self.clips], windows)

    def trained(self, windows: int = 16) -> SyncBatch:
        """The same of what is trained on."""
        batch = self._even(self.places, windows)
        assert batch is not None, "no span is too short"
        return batch

    def _variation(self, step: int) -> Variation:
        eased = self.shape.eased
        return self.shape.variation.scaled(step / eased) if step < eased else self.shape.variation

    def _even(self, spans: list[list[tuple[int, int]]], windows: int) -> SyncBatch | None:
        parts, starts, numbers = [], [], []
        for number, (clip, of) in enumerate(zip(self.clips, spans, strict=True)):
            first, stop = max(of, key=lambda span: span[1] - span[0], default=(0, 0))
            if stop - first > WINDOW:
                chosen = np.unique(np.linspace(first, stop - WINDOW - 1, windows).astype(int))
                lips = [_middle(as_clip(np.asarray(clip.crops[s : s + WINDOW]))) for s in chosen]
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
        self, clip: SyncClip, starts: Int[ndarray, " n"], variation: Variation, draw: np.random.Generator
    ) -> tuple[Float[Tensor, "n 3 5 107 107"], Float[Tensor, "n 1 13 20"], Float[Tensor, "n 20"]]:
        first, stop = int(starts[0]), int(starts[-1]) + WINDOW
        shown = sorted({int(s) + i for s in starts for i in range(WINDOW)})
        crops = as_clip(np.stack([clip.crops[i] for i in shown]))[0].transpose(0, 1)
        frames = dict(zip(shown, varied_frames(crops, MIDDLE, variation, draw), strict=True))
        lips = torch.stack([torch.stack([frames[s + i] for i in range(WINDOW)], 1) for s in starts.tolist()])
        cepstra = torch.from_numpy(varied_sound(clip.sound(first, stop + 1), variation, draw)).float()
        return lips, audio_windows(cepstra, torch.from_numpy(starts - first)), _mouth_of(clip, starts)


def _middle(lips: Float[Tensor, "*b 224 224"]) -> Float[Tensor, "*b 107 107"]:
    return lips[..., slice(*MIDDLE), slice(*MIDDLE)]


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
