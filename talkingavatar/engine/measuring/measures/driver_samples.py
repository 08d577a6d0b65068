"""How far a driver's answers to one sound are from each other and from the truth, beside the truth's own takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from talkingavatar.config.schema import DataConfig
from talkingavatar.data.capture import Model
from talkingavatar.data.motion_clips import whole_speech
from talkingavatar.engine.measuring.labelled_takes import Phrase, true_take
from talkingavatar.engine.measuring.measure import Findings, Measure
from talkingavatar.engine.measuring.still_face import Face, StillFace
from talkingavatar.metrics.face_motion import lip_vertex_error, mean_distance, pairwise_distance
from talkingavatar.types import BodyPose

TAKES = 16  # of the truth, so that several of them say a phrase with the same feeling


class DriverSamples(Measure):
    """Diversity of K answers, their mean and best error, and how far the truth's takes of one phrase are apart."""

    keys = ("samples",)
    needs = ("frames", "foretold", "samples")
    definitions: ClassVar = {
        "samples": "K answers of a driver to one sound, the head held still. lips_mm, upper_mm: mean distance of any "
        "two (diversity); lips_mm_true, upper_mm_true: the same of true takes of one phrase with the same feeling, and "
        "..._any of whatever feeling, stretched to one length: what is above that is noise, no merit; lve_mean_mm2, "
        "lve_best_mm2: mean and least lip vertex error of an answer (MEE, CE)",
    }

    @torch.no_grad()
    def finish(self, found: Findings, truth: Findings) -> Findings:
        held, still, foretold = self.held, StillFace(self.held.body), self.setting.foretold
        assert foretold is not None, "it needs what was foretold"
        if still.why_not:
            return Findings(skipped={"samples": still.why_not})
        faces = [still.of(replace(answer.pose, betas=held.pose.betas)) for answer in foretold.answers]
        true = still.of(held.pose)
        errors = [lip_vertex_error(face.lips, true.lips) for face in faces]
        findings = Findings({
            "samples/lips_mm": pairwise_distance([face.lips for face in faces]),
            "samples/upper_mm": pairwise_distance([face.upper for face in faces]),
            "samples/lve_mean_mm2": float(np.mean(errors)),
            "samples/lve_best_mm2": min(errors),
        })  # fmt: skip
        if held.speaker is None:
            findings.skipped["samples/true"] = "nobody knows other takes of a recording"
        else:
            findings.metrics |= self._of_truth(held.speaker, still)
        return findings

    def _of_truth(self, speaker: DataConfig, still: StillFace) -> dict[str, float]:
        """Of phrases that are held out: their own take, and others of the same words."""
        model: Model = "flame" if "flame" in self.held.body.name else "smplx"
        fps, first = self.held.fps, self.held.frames[0]
        others = [replace(speaker, seed=speaker.seed + k) for k in range(1, TAKES)]
        spoken = [speaker, *(whole_speech(other, speaker.identity, fps) for other in others)]
        takes = [true_take(config, model, fps) for config in spoken]
        same, every = _Apart(), _Apart()
        for number, own in enumerate(takes[0].phrases):
            if own.start < first:
                continue
            said = [take.phrases[number] for take in takes if len(take.phrases) > number]
            posed = [take.pose for take in takes if len(take.phrases) > number]
            faces = [still.of(_stretched(pose, phrase, own)) for pose, phrase in zip(posed, said, strict=True)]
            every.add(faces)
            for feeling in {(phrase.emotion, phrase.strength) for phrase in said}:
                alike = [face for face, phrase in zip(faces, said, strict=True)
                         if (phrase.emotion, phrase.strength) == feeling]  # fmt: skip
                same.add(alike)
        return same.means("true") | every.means("any")


class _Apart:
    """Distances of faces, pair by pair."""

    def __init__(self) -> None:
        self.lips: list[float] = []
        self.upper: list[float] = []

    def add(self, faces: Sequence[Face]) -> None:
        for i, one in enumerate(faces):
            for other in faces[:i]:
                self.lips.append(mean_distance(one.lips, other.lips))
                self.upper.append(mean_distance(one.upper, other.upper))

    def means(self, name: str) -> dict[str, float]:
        """NaN where there is no pair."""
        found = {"lips": self.lips, "upper": self.upper}
        return {f"samples/{part}_mm_{name}": float(np.mean(v)) if v else float("nan") for part, v in found.items()}


def _stretched(pose: BodyPose, phrase: Phrase, length: Phrase) -> BodyPose:
    """A phrase as long as another, frame by frame the nearest."""
    count = length.stop - length.start
    return pose[np.linspace(phrase.start, phrase.stop - 1, count).round().astype(int).tolist()]
