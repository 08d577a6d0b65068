"""Whether the person is who it was."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.engine.measuring.measure import Findings, Found, Measure, Options, Picture, Setting
from talkingavatar.metrics.identity import FaceEmbedder, find_embedder
from talkingavatar.types import Batch, DrivingSignal

EVERY = 5  # frames
KEY = "identity/cosine"


class FaceIdentity(Measure):
    """Cosine of face embeddings of render and ground truth."""

    keys = ("identity",)
    needs = ("frames", "pictures", "face", "identity")
    definitions: ClassVar = {
        "identity": "mean cosine of ArcFace embeddings of render and ground truth, every fifth frame, aligned alike",
    }

    @classmethod
    def find(cls, options: Options) -> dict[str, Found]:
        file = find_embedder()
        if file.path is None:
            return {"identity": Found(why=file.why_skipped)}
        return {"identity": Found(FaceEmbedder(file), {"file": file.path.name, "sha256": file.checksum()})}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.embedder: FaceEmbedder = setting.networks.use("identity")
        self.embeddings: list[Float[ndarray, " D"]] = []

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        assert shown is not None
        if self.held.marks is not None and i % EVERY == 0:
            self.embeddings.append(self.embedder(shown.image.clamp(0, 1), self.held.marks[i, :, :2]))

    def finish(self, found: Findings, truth: Findings) -> Findings:
        if not self.embeddings:
            return Findings(skipped={"identity": "no landmarks are known to align faces by"})
        own = np.stack(self.embeddings)
        there = truth.tables.get("identity")
        if there is None:
            return Findings(tables={"identity": own})
        cosines = (own * there).sum(-1)
        every = np.full(len(self.held.frames), np.nan)
        every[::EVERY] = cosines
        return Findings({KEY: float(cosines.mean())}, tables={"identity": own}, per_frame={KEY: every})
