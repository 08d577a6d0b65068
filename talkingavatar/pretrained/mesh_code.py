"""Training of the mesh code: what a face does comes back from 32 numbers, on it and on any other face.

The start are the principal directions of some hundred motions, which is nearly all there is to a linear code. The steps
teach it what those weigh alike: lips and lids, which are small, and that one face's code moves another's mesh.
"""

from __future__ import annotations

from typing import Any, final

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import AdamW

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.config.family_options import MeshCode as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.mesh_motion import MeshBatch
from talkingavatar.errors import UserError
from talkingavatar.networks.mesh_code import MeshCode
from talkingavatar.training.schedule import of_one_group
from talkingavatar.training.terms import NONE, Scalars, weighted

TERMS = ROWS["pretrained"]["mesh_code"].terms
FIELD = "pretrained.options"
GROUP = "network"  # the one row of the schedule table
MILLIMETRES = 62.0  # between the eyes of the open rig: errors are told in these
ACTIONS = ("mouthClose", "eyeBlinkLeft", "eyeBlinkRight")  # what they move by a millimetre counts for more
FINE, HIDDEN = 4.0, 0.25  # weights of those vertices, and of what lies inside the mouth


def checked_options(given: dict[str, Any]) -> Options:
    """Options from configuration.

    Raises:
        UserError: an unknown name or a value of the wrong type or size.
    """
    return read_options(Options(), given, FIELD)


def vertex_weights(mesh: FaceMesh) -> Float[Tensor, " N"]:
    """What a vertex counts for."""
    body = mesh.body
    columns = [body.expression_names.index(name) for name in ACTIONS]
    fine = body.expressiondirs[mesh.rows][..., columns].norm(dim=1).amax(1) > 1e-3
    eyes = mesh.part("left_eye") | mesh.part("right_eye")
    weight = torch.where(mesh.skin | eyes, 1.0, HIDDEN)
    return torch.where(mesh.skin & fine | eyes, FINE, weight)


@final
class MeshCodeTraining(L.LightningModule):
    """One step trains a batch of faces."""

    weight: Float[Tensor, " N"]

    def __init__(self, config: FitConfig, mesh: FaceMesh, first: Float[Tensor, "M N 3"]) -> None:
        """
        Args:
            first: offsets whose principal directions are the start.

        Raises:
            UserError: a mistake in the options or the schedule.
        """
        super().__init__()
        self.config = config
        pretrained = config.pretrained
        self.schedule = of_one_group(
            pretrained.schedule, "pretrained.schedule", GROUP, config.budget, config.budget.steps
        )
        if set(pretrained.terms) != set(TERMS):
            found = ", ".join(pretrained.terms) or "none"
            raise UserError("pretrained.terms", found, ", ".join(TERMS), "give all of them")
        self.scalars = NONE  # of the last step, for whoever logs
        self.register_buffer("weight", vertex_weights(mesh), persistent=False)
        self.network = MeshCode(len(mesh))
        self.network.start(first, self.weight)

    def terms(self, batch: MeshBatch) -> dict[str, Float[Tensor, "B N"]]:
        """Unreduced losses by the names of the loss table, square millimetres."""
        back = self.network.decode(self.network.encode(batch.offsets))
        pairs = zip(TERMS, (batch.offsets, batch.others), strict=True)
        return {name: self.weight * (MILLIMETRES * (back - goal)).square().sum(-1) for name, goal in pairs}

    def training_step(self, batch: MeshBatch, batch_idx: int) -> Float[Tensor, ""]:
        values = {name: value.mean() for name, value in self.terms(batch).items()}
        total, losses = weighted(values, self.config.pretrained.terms, self.global_step)
        self.scalars = Scalars(losses.names, losses.tensor, self.global_step)
        return total

    def on_train_batch_start(self, batch: MeshBatch, batch_idx: int) -> None:
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, AdamW)
        for group in optimiser.param_groups:
            group["lr"] = self.schedule.rate(self.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """
        Raises:
            RuntimeError: the loss is not finite: that is not to be continued.
        """
        self.scalars.read()

    def configure_optimizers(self) -> AdamW:
        return AdamW(self.parameters(), lr=self.schedule.lr, weight_decay=0.0, fused=True)
