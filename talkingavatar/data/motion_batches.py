"""Batches for drivers: sequences of neighbouring frames from several clips, their sound slightly varied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.audio.features import FLOOR, LOG_MEAN, LOG_STD
from talkingavatar.data.motion_clips import MotionClip, Stretch
from talkingavatar.data.sampler import StepLoader
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose, DrivingSignal

FEWEST = 8  # frames of a sequence, from which something can be learned about motion


class MotionBatch(NamedTuple):
    """N sequences of L frames."""

    features: Float[Tensor, "N L 16 C"]
    signal: DrivingSignal  # of N L frames, sequence after sequence, all but their sound
    speaker: Int[Tensor, " N"]  # numbers of the clips

    @property
    def pose(self) -> BodyPose:
        return self.signal.pose


@dataclass(frozen=True)
class Variation:
    """How other microphones, rooms and distances would have changed log-mel features; all at most, to both sides."""

    gain: float = 10.0  # decibel
    tilt: float = 6.0  # decibel between the middle band and the outermost
    noise: float = 1e-3  # power of a noise floor, 45 dB under loud speech; levels spread over three decades

    def scaled(self, factor: float) -> Variation:
        """Of less (or more) change; None of it at 0."""
        return Variation(self.gain * factor, self.tilt * factor, self.noise * factor)


@dataclass(frozen=True)
class Sequences:
    """What a step sees: `windows` sequences of at most `length` frames."""

    windows: int = 8
    length: int = 75
    shares: tuple[float, ...] = ()  # of the sequences, a clip each; none given: by the frames they have
    variation: Variation | None = None  # for log-mel features only
    grain: float = 0.0  # noise on every feature, in the features' standard deviations: so little is learned by heart


class MotionData(L.LightningDataModule):
    """Serves clips to a driver's training: the batch of a step depends on the seed and the step alone.

    Several processes share a step's sequences, so that all together train as one would.
    """

    def __init__(self, clips: Sequence[MotionClip], sequences: Sequences, seed: int, steps: int) -> None:
        """
        Raises:
            UserError: a clip has too few neighbouring frames to train on.
        """
        super().__init__()
        self.clips, self.sequences, self.seed, self.steps = list(clips), sequences, seed, steps
        prompted = all(clip.units is not None for clip in self.clips)
        self.signals = [clip.signal if prompted else replace(clip.signal, actions=None) for clip in self.clips]
        longest = [max((stop - start for start, stop in clip.train), default=0) for clip in self.clips]
        # All sequences are as long as the shortest clip allows: no frame is made up.
        self.length = min(sequences.length, *longest)
        if self.length < FEWEST:
            short = [clip.name for clip, frames in zip(self.clips, longest, strict=True) if frames < FEWEST]
            found = f"{', '.join(short)}: {min(longest)} frames" if short else f"length {sequences.length}"
            raise UserError("data", f"{found} in a row", f"{FEWEST} frames to train on", "give longer sequences")
        self.places = [[s for s in clip.train if s[1] - s[0] >= self.length] for clip in self.clips]
        shares = sequences.shares or [sum(b - a for a, b in clip.train) for clip in self.clips]
        self.shares = np.asarray(shares, np.float64) / np.sum(shares)
        heard = [clip.features[start:stop] for clip in self.clips for start, stop in clip.train]
        self.grain = sequences.grain * float(torch.cat(heard).std()) if sequences.grain > 0 else 0.0

    def train_dataloader(self) -> StepLoader[MotionBatch]:
        rank, world, on_gpu = 0, 1, False
        if (trainer := self.trainer) is not None:
            rank, world = trainer.global_rank, trainer.world_size
            on_gpu = trainer.strategy.root_device.type == "cuda"
        return StepLoader(lambda step: self.batch(step, rank, world), self.steps, pin=on_gpu)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> MotionBatch:
        """The share of process `rank` of `world` in the sequences of a step."""
        numbers = range(rank, self.sequences.windows, world)
        parts = [self._sequence(np.random.default_rng([self.seed, step, number])) for number in numbers]
        features, signals, speakers = zip(*parts, strict=True)
        return MotionBatch(torch.stack(features), DrivingSignal.cat(signals), torch.tensor(speakers))

    def _sequence(self, draw: np.random.Generator) -> tuple[Float[Tensor, "L 16 C"], DrivingSignal, int]:
        which = int(draw.choice(len(self.clips), p=self.shares))
        start = _place(self.places[which], self.length, draw)
        part = slice(start, start + self.length)
        features = self.clips[which].features[part]
        if self.sequences.variation is not None:
            features = varied(features, self.sequences.variation, draw)
        if self.grain > 0:
            features = features + self.grain * torch.from_numpy(draw.standard_normal(features.shape, np.float32))
        return features, self.signals[which][part], which


def _place(places: list[Stretch], length: int, draw: np.random.Generator) -> int:
    """A first frame; all that there are have the same chance."""
    counts = np.array([stop - start - length + 1 for start, stop in places])
    number = int(draw.integers(counts.sum()))
    span = int(np.searchsorted(counts.cumsum(), number, side="right"))
    return places[span][0] + number - int(counts[:span].sum())


def varied(
    features: Float[Tensor, "L 16 44"], variation: Variation, draw: np.random.Generator
) -> Float[Tensor, "L 16 44"]:
    """Log-mel features as other equipment would have given them: louder, duller, over noise."""
    bands = torch.linspace(-1, 1, features.shape[-1])
    decibels = variation.gain * draw.uniform(-1, 1) + variation.tilt * draw.uniform(-1, 1) * bands
    floor = torch.zeros(())
    if variation.noise > 0 and draw.random() < 0.5:  # half of the sound stays as clean as it was recorded
        level = variation.noise * 10 ** draw.uniform(-3, 0)
        colour = 10 ** (0.1 * variation.tilt * draw.uniform(-1, 1) * bands)
        hiss = draw.gamma(3.0, 1 / 3, features.shape)  # a band's power over 25 ms, which is no steady number
        floor = level * colour * torch.from_numpy(hiss).float()
    return reheard(features, decibels, floor)


def reheard(
    features: Float[Tensor, "L 16 44"], decibels: Float[Tensor, " 44"], floor: Float[Tensor, "..."]
) -> Float[Tensor, "L 16 44"]:
    """Log-mel features of a sound whose bands are louder, over a noise of this power."""
    power = ((features * LOG_STD + LOG_MEAN).exp() - FLOOR).clamp_min(0)
    return ((power * 10 ** (0.1 * decibels) + floor + FLOOR).log() - LOG_MEAN) / LOG_STD
