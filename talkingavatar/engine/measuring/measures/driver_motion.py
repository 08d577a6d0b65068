"""How well motion that was told from sound goes with what was tracked, and with what is true; no pixels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.audio.loudness import correlation_and_offset
from talkingavatar.body.lips import lips_of, opening_of, still_lips
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.engine.measuring.foretold import STILL, Foretold
from talkingavatar.engine.measuring.measure import Findings, Measure, Picture, Setting
from talkingavatar.losses import lip_distance
from talkingavatar.metrics.motion import jitter
from talkingavatar.types import Batch, BodyPose, DrivingSignal

REACH = 0.4  # seconds by which an offset is looked for, to both sides


class DriverMotion(Measure):
    """Opening of the lips, place of the lips and the parameters themselves, as `driver/<what>/<tracked|true>`.

    Tables `opening_<tracked|true|predicted>` hold how far the lips stand apart, metres.
    """

    keys = ("driver",)
    needs = ("frames", "foretold")
    definitions: ClassVar = {
        "driver": "motion told from sound against tracked and true motion. opening: of the lips, its correlation (r), "
        "offset in frames, mean distance in mm (MOD), and standard deviation by the other's (extent); params_r: mean "
        "correlation of the parameters that move; lips_mm: mean distance of the lips' vertices, the head held still; "
        "jitter: of the parameters that are foretold, in their standard deviations in training",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        assert setting.foretold is not None
        self.foretold: Foretold = setting.foretold
        self.poses: list[BodyPose] = []

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        self.poses.append(signal.pose)

    @torch.no_grad()
    def finish(self, found: Findings, truth: Findings) -> Findings:
        held, findings = self.held, Findings()
        parts, scale = self.foretold.parts, self.foretold.scale
        if parts is None or scale is None:
            return Findings(skipped={"driver": "what the driver foretells is no pose"})
        motions = {"predicted": BodyPose.cat(self.poses), "tracked": held.tracked}
        motions |= {} if held.truth is None else {"true": held.truth}
        if held.truth is None:
            findings.skipped["driver/true"] = "the true motion is not known"
        findings.tables = {f"opening_{name}": opening_of(held.body, pose) for name, pose in motions.items()}
        for other in ("tracked", "true"):
            if other in motions:
                apart = self._compare(parts, other, motions["predicted"], motions[other], findings.tables)
                findings.metrics |= {f"driver/{what}/{other}": value for what, value in apart.items()}
        for name, pose in motions.items():
            values = (parts.read(pose) / scale)[:, self.foretold.moving].numpy()[:, :, None]
            findings.metrics[f"driver/jitter/{name}"] = jitter(values, held.shots)
        return findings

    def _compare(
        self,
        parts: PoseParts,
        name: str,
        predicted: BodyPose,
        pose: BodyPose,
        openings: dict[str, Float[ndarray, " T"]],
    ) -> dict[str, float]:
        body = self.held.body
        ours, other = openings["opening_predicted"], openings[f"opening_{name}"]
        r, _, offset = correlation_and_offset(ours, other, round(REACH * self.held.fps))
        rows = parts.read(predicted), parts.read(pose)
        found = {
            "opening_r": r,
            "opening_offset": float(offset),
            "opening_mm": 1e3 * float(np.abs(ours - other).mean()),
            "opening_extent": float(ours.std() / max(STILL, other.std())),
            "params_r": _correlation(*(values.numpy() for values in rows)),
        }
        if len(lips := lips_of(body)):
            apart = lip_distance(*(still_lips(body, parts, lips, values, pose) for values in rows))
            found["lips_mm"] = float(apart.mean())
        return found


def _correlation(a: Float[ndarray, "T P"], b: Float[ndarray, "T P"]) -> float:
    """Mean of the parameters' correlations; those that do not move in one of both are left out."""
    moving = (a.std(0) > STILL) & (b.std(0) > STILL)
    if not moving.any() or len(a) < 3:
        return float("nan")
    return float(np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a.T[moving], b.T[moving], strict=True)]))
