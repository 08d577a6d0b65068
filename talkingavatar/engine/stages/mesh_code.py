"""The training of a mesh code on faces drawn at random, and the file it leaves, measured on the named speakers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.body.models import load_body
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.mesh_motion import (
    MeshMotionData,
    bank_of,
    motions_of,
    named_motion,
    random_takes,
    rig_from_code,
)
from talkingavatar.data.speaker.identity import IDENTITIES
from talkingavatar.engine.loop.machine import cores
from talkingavatar.engine.measuring.fit_results import Results
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.run.provenance import provenance
from talkingavatar.engine.stages.stage import Conclusion, Stage, StageContext
from talkingavatar.networks.mesh_code import MeshCode, save_mesh_code
from talkingavatar.pretrained.mesh_code import GROUP, MILLIMETRES, MeshCodeTraining, checked_options

FILE = "mesh_code.npz"
START, WHITEN = -1, -2  # numbers of the draws, beside those of the steps


class MeshCodeFit(Stage):
    """Random faces, the code, its figures on the named speakers and its file."""

    def __init__(self, context: StageContext) -> None:
        """
        Raises:
            UserError: a mistake in the options.
        """
        super().__init__(context)
        config = self.config
        options = checked_options(config.pretrained.options)
        torch.set_num_threads(cores(config))
        self.options, self.mesh = options, FaceMesh(load_body("open"))
        takes = random_takes(options.performances, options.seconds, config.seed)
        motions = motions_of(takes, self.mesh.body.expression_names)
        self.data = self.motion = MeshMotionData(self.mesh, motions, options.faces, config.seed, self.steps)
        first = self.motion.drawn(START, options.first).offsets
        self.module = self.training = MeshCodeTraining(config, self.mesh, first)

    @classmethod
    def check(cls, config: FitConfig) -> None:
        checked_options(config.pretrained.options)

    def scalars(self) -> dict[str, float]:
        return self.training.scalars.read()

    def rates(self, step: int) -> dict[str, float]:
        return {GROUP: self.training.schedule.rate(step)}

    @torch.no_grad()
    def preview(self) -> tuple[dict[str, float], str]:
        """Error on the first named speaker."""
        device = self.training.device
        error = _errors(self.training.network, named_motion(self.mesh, 0, self.options.heldout).to(device))
        return {"preview/rms_mm": error["rms_mm"]}, f"{error['rms_mm']:.3f} mm on {IDENTITIES[0].name}"

    @torch.no_grad()
    def conclude(self, run: RunDirectory, check: Callable[[], None]) -> Conclusion:
        """Whitens the code, writes the file, and measures what the file holds."""
        network = self.training.network.cpu()
        network.whiten(self.motion.drawn(WHITEN, self.options.first).offsets)
        facts = provenance()
        motions = self.motion.motions
        told = {
            "experiment": self.config.experiment, "steps": self.steps, "seed": self.config.seed,
            "faces": "drawn at random; none of the named speakers", "body": self.mesh.body.checksum,
            "commit": facts["commit"], "dirty": facts["dirty"], "torch": facts["torch"],
            "takes": [asdict(take) for take in motions.takes],
        }  # fmt: skip
        bank, to_rig = bank_of(self.mesh, network, motions), rig_from_code(self.mesh, network, motions)
        kept = save_mesh_code(network, run.path / FILE, told, bank, to_rig)
        results, rows = Results(), []
        for number, who in enumerate(IDENTITIES):
            check()
            errors = _errors(kept, named_motion(self.mesh, number, self.options.heldout))
            results.metrics |= {f"heldout/{who.name}/{name}": value for name, value in errors.items()}
            row: dict[str, Any] = {"held-out": f"{who.name}, {self.options.heldout:g} s"}
            rows.append(row | {name: f"{value:.3f}" for name, value in errors.items()})
        return Conclusion(results, rows, [])


@torch.no_grad()
def _errors(network: MeshCode, offsets: Float[Tensor, "T N 3"]) -> dict[str, float]:
    """What comes back of a motion, millimetres on a face of the rig's size, and the share of its squares."""
    error = (network.decode(network.encode(offsets)) - offsets).norm(dim=-1) * MILLIMETRES
    extent = offsets.norm(dim=-1) * MILLIMETRES
    return {
        "rms_mm": float(error.square().mean().sqrt()),
        "worst_frame_mm": float(error.square().mean(1).sqrt().max()),
        "extent_mm": float(extent.square().mean().sqrt()),
        "explained": float(1 - error.square().sum() / np.maximum(extent.square().sum(), 1e-12)),
    }
