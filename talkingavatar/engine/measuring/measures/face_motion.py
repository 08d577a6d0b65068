"""How far a foretold face is from the tracked and the true one, in vertices and in action units; no pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.action_units import NAMES, NamedFace, is_named
from talkingavatar.engine.measuring.measure import Findings, Measure, Picture, Setting
from talkingavatar.engine.measuring.still_face import StillFace
from talkingavatar.metrics.action_units import mean_correlation, unit_error
from talkingavatar.metrics.face_motion import dynamics_deviation, lip_vertex_error, mean_distance, velocity_error
from talkingavatar.types import Batch, BodyPose, DrivingSignal

UNNAMED = "a body whose expressions have no names has no action units: fit with body=open_flame"


class FaceMotion(Measure):
    """Vertex errors and action units, as `motion/<what>/<tracked|true>` and `units/<what>/<tracked|true>`.

    `motion` is of the face that is made, `units` of the action units that a driver foretold before it.
    """

    version = 2
    keys = ("motion",)
    needs = ("frames", "foretold")
    definitions: ClassVar = {
        "motion": "the face as foretold against tracked and true motion, the head held still. lve_mm2 (LVE): greatest "
        "squared distance of a lip's vertex, mean over frames; fdd_mm2 (FDD): by how much more the other's upper face "
        "moves (deviation of squared distances from rest, whenever); velocity_lips_mm, velocity_upper_mm: "
        "mean difference of movements in a frame; upper_mm: mean distance of the upper face; aue_lower, aue_upper, "
        "mean_r, r: error (summed mean squares, 0 to 5) and correlation of action units. foretold_percent: "
        "of the expressions that move; the others are as tracked, which flatters. MOD is driver/opening_mm",
        "units": "the action units that a driver foretold, by which the face was prompted: errors as of motion",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.signals: list[DrivingSignal] = []

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        self.signals.append(signal)

    @torch.no_grad()
    def finish(self, found: Findings, truth: Findings) -> Findings:
        pose, findings = BodyPose.cat([signal.pose for signal in self.signals]), Findings()
        others = {"tracked": self.held.tracked} | ({} if self.held.truth is None else {"true": self.held.truth})
        if "true" not in others:
            findings.skipped["motion/true"] = "the true motion is not known"
        for name, other in others.items():
            findings.metrics |= {f"motion/{what}/{name}": value for what, value in self._apart(pose, other).items()}
        self._units(pose, others, findings)
        assert self.setting.foretold is not None, "it needs what was foretold"
        findings.metrics["motion/foretold_percent"] = 100 * self.setting.foretold.share(self.held.tracked)
        if why := StillFace(self.held.body).why_not:
            findings.skipped["motion/lve_mm2"] = why
        return findings

    def _apart(self, pose: BodyPose, other: BodyPose) -> dict[str, float]:
        """In vertices, both of the other's build."""
        still, shots = StillFace(self.held.body), self.held.shots
        if still.why_not:
            return {}
        ours, theirs = still.of(replace(pose, betas=other.betas)), still.of(other)
        return {
            "lve_mm2": lip_vertex_error(ours.lips, theirs.lips),
            "fdd_mm2": dynamics_deviation(ours.upper, theirs.upper, still.at_rest(other).upper[0]),
            "velocity_lips_mm": velocity_error(ours.lips, theirs.lips, shots),
            "velocity_upper_mm": velocity_error(ours.upper, theirs.upper, shots),
            "upper_mm": mean_distance(ours.upper, theirs.upper),
        }

    def _units(self, pose: BodyPose, others: dict[str, BodyPose], findings: Findings) -> None:
        """In action units: those of the face, and those that it was prompted with."""
        if not is_named(self.held.body.expression_names):
            findings.skipped |= dict.fromkeys(("motion/aue_lower", "motion/aue_upper", "motion/mean_r"), UNNAMED)
            return
        face = NamedFace(self.held.body)
        made = {"motion": face.units(pose)}
        if (prompted := self._prompted()) is not None:
            made["units"] = prompted
        for other, theirs in others.items():
            true = face.units(theirs)
            for what, units in made.items():
                compared = unit_error(units, true)
                compared["mean_r"] = mean_correlation(compared)
                named = {f"{what}/{name.replace('/', '_')}/{other}": value for name, value in compared.items()}
                findings.metrics |= named

    def _prompted(self) -> Float[ndarray, "T 17"] | None:
        """None where no driver foretold any."""
        actions: list[Tensor] = [signal.actions for signal in self.signals if signal.actions is not None]
        if len(actions) < len(self.signals) or actions[0].shape[1] != len(NAMES):
            return None
        return torch.cat(actions).double().cpu().numpy()
