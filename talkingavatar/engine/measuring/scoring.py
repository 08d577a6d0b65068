"""The measures at work: over the frames of one video, or once over a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.engine.measuring.compared_pictures import compared_pictures
from talkingavatar.engine.measuring.measure import NOT_ASKED, Findings, Measure, Picture, Setting
from talkingavatar.engine.measuring.truth_above_render import Pair
from talkingavatar.runtime.progress import track
from talkingavatar.splatting import to_bytes
from talkingavatar.types import Batch, DrivingSignal

Measures = Sequence[type[Measure]]
SHOWN = 5  # pairs of pictures kept to be looked at
OF_TRUTH = dict.fromkeys(("truth", "avatar", "foretold", "samples", "brief"), NOT_ASKED)
UNKNOWN = "the capture does not know its true parameters"


@runtime_checkable
class Frames(Protocol):
    """Held-out frames as an avatar or a video shows them, in order."""

    def draw(self, i: int) -> tuple[Float[Tensor, "H W 3"], Batch, DrivingSignal]:
        """The i-th picture, what it is compared with, and what drove it: on the CPU, the pose as it was drawn."""


@dataclass
class Scored:
    """What came of a video; `pairs` are ground truth and render of a few frames."""

    findings: Findings
    pairs: list[Pair] = field(default_factory=list)


class Scoring:
    """Takes the frames of one video, in order, to all measures that find here what they need."""

    def __init__(self, measures: Measures, setting: Setting) -> None:
        self.setting, self.found = setting, Findings()
        self.running: list[Measure] = []
        try:
            for measure in measures:
                self._start(measure)
        except BaseException:
            self.__exit__()
            raise

    def _start(self, measure: type[Measure]) -> None:
        missing = self.setting.networks.missing
        absent = {**self.setting.absent, **missing}
        whys = [absent[need] for need in measure.needs if need in absent]
        self.found.skipped |= {name: why for name, why in missing.items() if name.startswith(measure.wants)}
        if not whys:
            self.running.append(measure(self.setting))
        elif why := next(filter(None, whys), NOT_ASKED):
            self.found.skipped |= dict.fromkeys(measure.missed(self.setting), why)

    def __enter__(self) -> Scoring:
        return self

    def __exit__(self, *error: object) -> None:
        for measure in self.running:
            measure.close()

    def add(self, i: int, image: Float[Tensor, "H W 3"] | None, truth: Batch | None, signal: DrivingSignal) -> None:
        """The i-th frame (see `Measure.add`)."""
        shown = None if image is None else Picture(image, self.setting.held, i)
        for measure in self.running:
            measure.add(i, shown, truth, signal)

    def finish(self, truth: Findings) -> Findings:
        """After the last frame; `truth` is what was found of the ground truth."""
        for measure in self.running:
            self.found.add(measure.finish(self.found, truth))
        return self.found


def score_truth(setting: Setting, measures: Measures) -> Findings:
    """The ground truth scored as if it were a render."""
    held = setting.held
    absent = {**setting.absent, **OF_TRUTH} | ({} if held.truth is not None else {"motion": UNKNOWN})
    compared = compared_pictures(held.pictures, held.frames, setting.condition)
    with Scoring(_of_frames(measures), replace(setting, absent=absent, avatar=None)) as scoring:
        for i, frame in _frames(setting, "ground truth"):
            batch = compared(frame)
            scoring.add(i, batch.image[0], None, replace(batch.signal, pose=held.pose[[i]]))
        return scoring.finish(Findings())


@torch.no_grad()
def score_avatar(setting: Setting, measures: Measures, truth: Findings, driven: Frames, title: str) -> Scored:
    """All numbers of the held-out frames."""
    frames = setting.held.frames
    shown = set(np.linspace(0, len(frames) - 1, SHOWN).round().astype(int).tolist())
    pairs = []
    with Scoring(_of_frames(measures), setting) as scoring:
        for i, _ in _frames(setting, title):
            image, batch, signal = driven.draw(i)
            scoring.add(i, image, batch, signal)
            if i in shown:
                pairs.append((to_bytes(batch.image[0]), to_bytes(image)))
        return Scored(scoring.finish(truth), pairs)


def score_motion(setting: Setting, measures: Measures) -> Findings:
    """The numbers of motion that nothing is drawn of."""
    held = setting.held
    tracked = DrivingSignal(torch.tensor(held.frames), held.tracked)
    signal = tracked if setting.foretold is None else setting.foretold.signal
    with Scoring(_of_frames(measures), setting) as scoring:
        for i in range(len(held.frames)):
            scoring.add(i, None, None, signal[[i]])
        return scoring.finish(Findings())


@torch.no_grad()
def score_run(setting: Setting, measures: Measures) -> Findings:
    """What is the same under every condition."""
    with Scoring([measure for measure in measures if measure.of_run], setting) as scoring:
        return scoring.finish(Findings())


def _of_frames(measures: Measures) -> list[type[Measure]]:
    return [measure for measure in measures if not measure.of_run]


def _frames(setting: Setting, title: str) -> Iterator[tuple[int, int]]:
    frames = setting.held.frames
    for i, frame in track(list(enumerate(frames)), title, len(frames), setting.progress):
        setting.check()
        yield i, frame
