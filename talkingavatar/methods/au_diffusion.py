"""EmoDiffTalk's head: Gaussians on a rig, whose opacity and rotation go with the face's action units (methods D).

Where a face folds, a furrow is there or is not: a mesh that moves cannot say so, an opacity that a unit changes can.
The units are the signal's (a driver's, a capture's), or those of the pose where a performance has none. Colours stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.body.action_units import INTENSITY
from talkingavatar.config.family_options import AuDiffusion as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.data.inputs import reposed
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import matrix_to_quat, orthonormalise
from talkingavatar.losses import unasked_change
from talkingavatar.methods.base import SHOWN
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.triangle_bound import TriangleBound
from talkingavatar.networks.baked import Listener, Residual, Resting
from talkingavatar.networks.colour_planes import ColourPlanes
from talkingavatar.networks.kept import Chosen, Kept
from talkingavatar.networks.residual import RestBox, changed
from talkingavatar.networks.skin_surface import SkinSurface
from talkingavatar.networks.unit_reader import unit_reader
from talkingavatar.networks.unit_residual import MOST, UnitResidual
from talkingavatar.training.likeness import Likeness
from talkingavatar.types import Batch, BodyPose, DrivingSignal, Layers, Rendering


@final
class AuDiffusion(TriangleBound):
    """Works with any body whose actions have names, and with any capture of which action units are known."""

    group_names, term_names = ROWS["method"]["au_diffusion"].groups, ROWS["method"]["au_diffusion"].terms

    def __init__(self, context: MethodContext) -> None:
        """
        Raises:
            UserError: nothing tells the face's action units.
        """
        self.options = read_options(Options(), context.config.method.options)
        super().__init__(context, self.options, self.options.deform == "skin", self.options.behind)
        self.reader = unit_reader(self.body, context.pose, context.actions, context.train_frames)
        self.residual: UnitResidual | None = None
        if self.options.residual != "none":
            self.residual = UnitResidual(self.options.residual == "mlp", self.options.features)
            self.gaussians["lines"] = nn.Parameter(self.residual.lines(len(self.figure.faces)))
        self.colours: ColourPlanes | None = None
        if self.options.colour == "triplane":
            self.colours = ColourPlanes()
        self.box = RestBox(self.figure.resting(self.betas[0]))
        self.likeness = Likeness(self.options.perceptual, self.options.patch)
        self._face, self._told, self._tinted = Chosen(), Kept[Tensor](), Kept[Tensor]()
        self._changes: dict[str, Tensor] = {}  # by the last units
        self._units = torch.zeros(0)

    # -- what the base asks for ----------------------------------------------------------------------------------------

    def deform(self, signal: DrivingSignal) -> Layers:
        raw = self._changed(self._coloured(dict(self.gaussians)), self.units_of(signal)[0])
        return {SHOWN: self.in_pose(self.refined_pose(signal), raw)}

    def units_of(self, signal: DrivingSignal) -> Float[Tensor, "B 17"]:
        """Intensities, 0 to 5: the signal's, or what is read off its pose where it has none."""
        return self.reader(signal.pose) if signal.actions is None else signal.actions

    def reposed(self, signal: DrivingSignal, pose: BodyPose) -> DrivingSignal:
        """Recorded units would tell of the recorded pose."""
        return reposed(signal, pose)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        lines: dict[str, list[nn.Parameter]] = {"lines": []} if self.residual is None else {}
        parts = {"residual": self.residual, "colour": self.colours}
        further = {name: [] if part is None else list(part.parameters()) for name, part in parts.items()}
        return super().parameter_groups() | lines | further

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        terms = super().terms(drawn, batch)
        if self.counts("perceptual"):
            terms["perceptual"] = self.likeness(drawn[SHOWN].rgb, batch.image, batch.weight)
        if self._changes:
            terms["residual"] = torch.cat(list(self._changes.values()), 1).square()
            terms["unasked"] = unasked_change(self._changes["opacities"][:, 0], self._units / INTENSITY)
        return terms

    # -- baking --------------------------------------------------------------------------------------------------------

    def at_its_rest(self) -> Resting:
        return replace(super().at_its_rest(), sh=self._coloured(dict(self.gaussians))["sh"].detach())

    def baked_residual(
        self, frames: DrivingSignal
    ) -> tuple[Residual | Listener | None, Callable[[DrivingSignal], Float[Tensor, "T R"]]]:
        """The lines of the face's Gaussians; a unit's share is how far along its own.

        Raises:
            UserError: networks read the lines.
        """
        if self.residual is None:
            return super().baked_residual(frames)
        if self.residual.networks:
            expected = "basis or none: networks have no directions to bake"
            raise UserError("method.options.residual", self.options.residual, expected,
                            "fit with method.options.residual=basis")  # fmt: skip
        rows = self.moving_face[self.carried_face].nonzero()[:, 0]
        turns = matrix_to_quat(orthonormalise(self.resting_maps[self.carried_binding[rows], :, :3]))
        columns = torch.tensor([13, 3, 4, 5, 6], dtype=torch.int32, device=self.device)
        most = torch.tensor([MOST["opacities"], *[MOST["quats"]] * 4], device=self.device)
        lines = self.gaussians["lines"].detach()[rows]
        return Residual(lines, rows.int(), columns, most=most, turns=turns), self._shares

    def _shares(self, signal: DrivingSignal) -> Float[Tensor, "T 17"]:
        return self.units_of(signal) / INTENSITY

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _changed(self, raw: dict[str, Tensor], units: Float[Tensor, " 17"]) -> dict[str, Tensor]:
        """The raw attributes with what the units do to those of the face beyond the rig."""
        if self.residual is None:
            return raw
        lines, on_face = raw.pop("lines"), self.carried_face if self.surface is not None else self.carried_binding
        face = self._face.get(lambda: self.moving_face[on_face], on_face, on_face._version)
        told = self._told.get(lambda: lines[face], lines, face)
        if self.residual.networks:
            self._changes = self.residual(told, units, self._places(raw)[face], raw["quats"].detach()[face])
        else:
            self._changes = self.residual(told, units)
        self._units = units
        spread = {
            name: change.new_zeros(len(lines), change.shape[1]).index_copy(0, face, change)
            for name, change in self._changes.items()
        }
        return changed(raw, spread)

    def _coloured(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """The raw attributes in the colours of their places; their own are learned no further."""
        if (colours := self.colours) is None:
            return raw
        places = self._places(raw)
        told = self._tinted.get(lambda: colours(places), places, *colours.parameters())
        return changed({**raw, "sh": raw["sh"].detach()}, {"sh": told})

    def _fill(self, surface: SkinSurface) -> None:
        self.settle_colours()
        super()._fill(surface)

    @torch.no_grad()
    def settle_colours(self) -> None:
        """Once nothing is learned any more, Gaussians keep their places' colours as their own."""
        if self.colours is not None:
            self.gaussians["sh"].copy_(self._coloured(dict(self.gaussians))["sh"])
            for parameter in self.colours.network[-1].parameters():
                parameter.zero_()

    def _places(self, raw: dict[str, Tensor]) -> Float[Tensor, "N 3"]:
        """Where the Gaussians lie at rest, in [-1, 1] of the figure's box."""
        return self.box.kept(lambda: self.at_rest(raw).means, raw["means"], self.carried_binding)
