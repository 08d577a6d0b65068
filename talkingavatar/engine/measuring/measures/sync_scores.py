"""Whether the lips go with the sound: SyncNet's scores, and what needs no weights."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.data.capture import RATE
from talkingavatar.engine.measuring.measure import Findings, Found, Measure, Options, Picture, Setting
from talkingavatar.errors import UserError
from talkingavatar.metrics.lipsync.crop import FPS, to_25fps
from talkingavatar.metrics.lipsync.scores import sync_scores
from talkingavatar.metrics.lipsync.syncnet import SyncNetScorer, find_syncnet
from talkingavatar.metrics.mouth_sync import MouthTrack
from talkingavatar.types import Batch, DrivingSignal


class MouthAndSound(Measure):
    """How well the mouth's pixels are foretold by the sound."""

    keys = ("mouth_sync",)
    needs = ("frames", "pictures", "face")
    definitions: ClassVar = {
        "mouth_sync": "weight-free: how well the mouth's pixels are foretold by the sound at each shift. Offset in "
        "frames of the capture, signed as AO; r at the offset; confidence in units of chance",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.mouth = MouthTrack()

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        assert shown is not None
        self.mouth.add(shown.image.clamp(0, 1), self.held.mouths[i])

    def finish(self, found: Findings, truth: Findings) -> Findings:
        sync = self.mouth.sync(self.held.sound, self.held.fps, self.held.shots)
        if sync.offset is None:
            return Findings(skipped={"mouth_sync": sync.why})
        metrics = {
            "mouth_sync/offset": sync.offset,
            "mouth_sync/r": sync.r,
            "mouth_sync/confidence": sync.confidence,
        }
        return Findings(metrics, curves={"mouth_sync": [sync.shifts.tolist(), sync.curve.tolist()]})


class SyncNetScores(Measure):
    """AO, MD and Conf of the longest shot: SyncNet hears one stretch of sound without a cut."""

    keys = ("sync",)
    needs = ("frames", "pictures", "face", "syncnet")
    definitions: ClassVar = {
        "sync": "SyncNet as published at 25 fps; crops follow the ground truth's face in every video (fixed crop). AO "
        "in frames, positive where sound leads; MD and Conf are distances of its embeddings",
    }

    @classmethod
    def find(cls, options: Options) -> dict[str, Found]:
        file = find_syncnet(options.syncnet)
        if file.path is not None:
            return {"syncnet": Found(SyncNetScorer(file, options.device), file.provenance())}
        if options.syncnet is not None:
            raise UserError("syncnet", options.syncnet, "SyncNet's weights", "give the file or its folder")
        return {"syncnet": Found(why=file.why_skipped)}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.scorer: SyncNetScorer = setting.networks.use("syncnet")
        self.lips = self.scorer.lip_stream()
        self.start, self.stop = max(self.held.shots, key=lambda shot: shot[1] - shot[0])
        self.shown = np.array(
            to_25fps(self.stop - self.start, self.held.fps)
        )  # of the shot, at each frame of 25 a second
        self.repeats = np.bincount(self.shown, minlength=self.stop - self.start)

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        assert shown is not None
        if self.start <= i < self.stop:
            for _ in range(self.repeats[i - self.start]):
                self.lips.add(shown.face)

    def finish(self, found: Findings, truth: Findings) -> Findings:
        lips, fps = self.lips.finish(), self.held.fps
        before = sum(stop - start for start, stop in self.held.shots if stop <= self.start)
        first, length = round(before / fps * RATE), self.stop - self.start
        sound = self.held.sound[first : first + round(length / fps * RATE)]
        if len(lips) < FPS:
            why = f"no shot of the held-out frames is as long as {FPS + 5} frames at {FPS} fps"
            return Findings(skipped={"sync": why})
        scores = sync_scores(lips, self.scorer.audio_embeddings(sound))
        reach = len(scores.curve) // 2
        # AO is 15 less the place of the minimum: positive where sound leads.
        curve = [[float(reach - j) for j in range(len(scores.curve))], list(scores.curve)]
        metrics = {"sync/ao": float(scores.ao), "sync/md": scores.md, "sync/conf": scores.conf}
        of_positions = {"sync/md": scores.distances, "sync/conf": scores.margins}
        per_frame = {key: self._of_frames(values.cpu().numpy()) for key, values in of_positions.items()}
        return Findings(metrics, curves={"sync": curve}, per_frame=per_frame)

    def _of_frames(self, of_positions: Float[ndarray, " n"]) -> Float[ndarray, " T"]:
        """What five frames have, as that of the middle one's; NaN outside the shot and at its ends."""
        every = np.full(len(self.held.frames), np.nan)
        every[self.start + self.shown[2:][: len(of_positions)]] = of_positions
        return every
