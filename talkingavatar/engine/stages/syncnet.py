"""The training of a SyncNet on captures, and the file it leaves: the published layout, its provenance beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.config.schema import FitConfig
from talkingavatar.data.capture import Capture
from talkingavatar.data.sources import source_of
from talkingavatar.data.sync_batches import Shape, SyncBatch, SyncData
from talkingavatar.data.sync_clips import SyncClip, sync_clip
from talkingavatar.engine.build import build_capture
from talkingavatar.engine.loop.machine import cores
from talkingavatar.engine.measuring.fit_results import Results
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.run.provenance import provenance
from talkingavatar.engine.stages.stage import Conclusion, Stage, StageContext
from talkingavatar.metrics.lipsync.scores import REACH, SyncScores, shift_accuracy, shift_distances, sync_scores
from talkingavatar.metrics.lipsync.syncnet import SyncNetScorer, find_syncnet, sidecar_of
from talkingavatar.metrics.suite import SUITE_VERSION
from talkingavatar.pretrained.syncnet import (
    GROUP,
    SyncNetTraining,
    accuracy,
    calibrated,
    checked_options,
    distances,
    unrelated,
)
from talkingavatar.runtime.files import sha256, whole, write_atomically
from talkingavatar.runtime.progress import ProgressBar, track

FILE = "syncnet.model"
HELD_OUT, UNSEEN = "heldout", "unseen"  # parts of clips that others are trained on, and clips that nothing is
PLANTED = (5, -5)  # frames by which the sound is made late, or early, to see whether it is found


class SyncNetFit(Stage):
    """The clips of several captures, the network, its held-out figures and its file."""

    def __init__(self, context: StageContext) -> None:
        """
        Raises:
            UserError: a mistake in the options, or captures that show no face or are too short.
        """
        super().__init__(context)
        config = self.config
        self.module = self.training = SyncNetTraining(config)
        options = self.training.options
        torch.set_num_threads(cores(config))  # unlike an avatar's, these convolutions are large enough to share out
        self.captures = self._captures()
        eased = int(options.eased_share * self.steps)
        shape = Shape(options.places, options.windows, options.reach, eased, options.clips)
        self.data = self.clip_data = SyncData([self._clip(c) for c in self.captures], shape, config.seed, self.steps)
        self.unseen = [self._clip(capture).unseen() for capture in self._opened(options.unseen)]
        self.heldout = self.clip_data.heldout()

    @classmethod
    def check(cls, config: FitConfig) -> None:
        checked_options(config.pretrained.options)

    def _captures(self) -> list[Capture]:
        """Embedded speakers by number (or the one capture given), and the captures named beside them."""
        config, options = self.config, self.training.options
        main = source_of(config.data).people(config.data, options.identities)
        return [*(build_capture(replace(config, data=data)) for data in main), *self._opened(options.captures)]

    def _opened(self, folders: list[str]) -> list[Capture]:
        given = [replace(self.config.data, name="capture", path=path) for path in folders]
        return [build_capture(replace(self.config, data=data)) for data in given]

    def _clip(self, capture: Capture) -> SyncClip:
        with ExitStack() as stack:

            def progress(total: int) -> Callable[[], None]:
                bar = ProgressBar(f"crops {capture.manifest.name}", total, self.config.trainer.progress)
                return stack.enter_context(bar).advance

            return sync_clip(capture, progress)

    def scalars(self) -> dict[str, float]:
        return self.training.scalars.read()

    def rates(self, step: int) -> dict[str, float]:
        return {GROUP: self.training.schedule.rate(step)}

    def preview(self) -> tuple[dict[str, float], str]:
        """Loss and accuracy on windows of the held-out parts."""
        if self.heldout is None:
            return {}, ""
        training = self.training
        batch, lips, sound = self._embedded(self.heldout)
        losses = {f"preview/{k}": float(v.mean()) for k, v in training.terms(lips, sound, batch).items() if len(v)}
        share = float(accuracy(distances(lips, sound), batch))
        note = f"{100 * share:.0f} % of {len(lips)} held-out windows find their sound"
        return {"preview/accuracy": share, **losses}, note

    @torch.no_grad()
    def _embedded(self, batch: SyncBatch) -> tuple[SyncBatch, Float[Tensor, "N 1024"], Float[Tensor, "N 1024"]]:
        """The batch where the network is, and what it makes of lips and sound as it stands."""
        there = SyncBatch(*(tensor.to(self.training.device) for tensor in batch))
        self.training.eval()
        lips, sound = self.training.embed(there)
        self.training.train()
        return there, lips, sound

    def conclude(self, run: RunDirectory, check: Callable[[], None]) -> Conclusion:
        """Writes the file first, then measures what the file holds."""
        file = run.path / FILE
        batch, lips, sound = self._embedded(self.clip_data.trained())
        _write(calibrated(self.training.network.state_dict(), unrelated(distances(lips, sound), batch)), file)
        # What the table says of the file was measured with the file.
        scorer = SyncNetScorer(find_syncnet(str(file)), self.training.device)
        results, rows = Results(), []
        results.definitions = {"suite": SUITE_VERSION, "sync_curves": {}}
        clips = {**_named(HELD_OUT, self.clip_data.clips), **_named(UNSEEN, self.unseen)}
        for key, clip in track(clips.items(), "held-out parts", len(clips)):
            check()
            rows.append(measure_clip(scorer, clip, key, results))
        write_atomically(sidecar_of(file), json.dumps(self._provenance(file, results), indent=1))
        return Conclusion(results, rows, [])

    def _provenance(self, file: Path, results: Results) -> dict[str, Any]:
        """What every result scored with the file repeats."""
        facts = provenance()
        parts = zip(self.captures, self.clip_data.clips, strict=True)
        return {
            "sha256": sha256(file),
            "experiment": self.config.experiment,
            "captures": [
                {"name": clip.name, "folder": str(capture.folder), "train": clip.train, "heldout": clip.test,
                 "provenance": capture.manifest.provenance}
                for capture, clip in parts
            ],
            "split": "spans of frames at 25 fps",
            "steps": self.steps,
            "seed": self.config.seed,
            "pretrained": asdict(self.config.pretrained),
            "commit": facts["commit"],
            "dirty": facts["dirty"],
            "torch": facts["torch"],
            "device": facts["device"],
            "heldout": results.metrics,
            "skipped": results.skipped,
            "suite": SUITE_VERSION,
        }  # fmt: skip


def _named(part: str, clips: list[SyncClip]) -> dict[str, SyncClip]:
    """Clips by the names of their figures; those of one name are numbered."""
    names = [clip.name for clip in clips]
    told = [name if names.count(name) == 1 else f"{name}#{i}" for i, name in enumerate(names)]
    return {f"{part}/{name}": clip for name, clip in zip(told, clips, strict=True)}


def measure_clip(scorer: SyncNetScorer, clip: SyncClip, key: str, results: Results) -> dict[str, Any]:
    """Figures of the longest held-out span into `results`, after `key`; the row of the table."""
    start, stop = max(clip.test, key=lambda span: span[1] - span[0], default=(0, 0))
    part, name = key.split("/", 1)
    row: dict[str, Any] = {"held-out": f"{name}{', never seen' * (part == UNSEEN)}, {stop - start} frames"}
    stream = scorer.lip_stream()
    for i in range(start, stop):
        stream.add(np.asarray(clip.crops[i]))
    lip, audio = stream.finish(), scorer.audio_embeddings(clip.sound(start, stop))
    if not len(lip):
        results.skipped[key] = f"{stop - start} held-out frames at 25 fps, 6 are needed"
        return row | dict.fromkeys(("accuracy, 5 frames", "15 frames", "AO", "MD", "Conf"), "skipped")
    distances = shift_distances(lip, audio, REACH)
    for column, frames in (("accuracy, 5 frames", 5), ("15 frames", 15)):
        share = shift_accuracy(distances, frames)
        if share is None:
            needed = 2 * REACH + frames + 1
            results.skipped[f"{key}/accuracy_{frames}"] = f"{stop - start} held-out frames, {needed} are needed"
        else:
            results.metrics[f"{key}/accuracy_{frames}"] = share
        row[column] = "skipped" if share is None else f"{100 * share:.0f} %"
    scores = sync_scores(lip, audio)
    row |= {"AO": f"{scores.ao}", "MD": f"{scores.md:.3f}", "Conf": f"{scores.conf:.3f}"}
    _keep(scores, key, results)
    for late in PLANTED if len(lip) > max(PLANTED) else ():
        side = f"{'late' if late > 0 else 'early'}_{abs(late)}"
        # Later pictures beside earlier sound: the sound comes late by as much.
        heard = scorer.audio_embeddings(clip.sound(start + max(0, -late), stop - max(0, late)))
        planted = sync_scores(lip[max(0, late) : len(lip) - max(0, -late)], heard)
        _keep(planted, f"{key}/{side}", results)
        row[f"AO, sound {side.replace('_', ' by ')}"] = f"{planted.ao}"
    return row


def _keep(scores: SyncScores, key: str, results: Results) -> None:
    results.metrics |= {f"{key}/ao": float(scores.ao), f"{key}/md": scores.md, f"{key}/conf": scores.conf}
    results.definitions["sync_curves"][key] = [round(value, 4) for value in scores.curve]


def _write(state: dict[str, torch.Tensor], file: Path) -> None:
    """A plain dict of tensors, whole or not there."""
    with whole(file) as temporary:
        torch.save({key: value.cpu() for key, value in state.items()}, temporary)
