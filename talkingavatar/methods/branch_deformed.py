"""A baseline in the style of TalkingGaussian (Li et al., ECCV 2024): lasting Gaussians, moved in two branches.

The face's are moved, turned and stretched by a field of sound and upper-face action units; those inside the mouth
(teeth, tongue, cavity) are moved by another, of sound alone. Opacities and colours never change with the sound.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.body.action_units import INTENSITY, NAMES
from talkingavatar.body.parts import MOUTH
from talkingavatar.config.family_options import BranchDeformed as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.data.inputs import reposed
from talkingavatar.geometry.cameras import eyes
from talkingavatar.methods.base import SHOWN
from talkingavatar.methods.behind import set_behind
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.sound_deformed import Lying, SoundDeformed
from talkingavatar.networks.motion_field import FaceField, MouthField
from talkingavatar.networks.unit_reader import unit_reader
from talkingavatar.training.likeness import Likeness
from talkingavatar.types import Batch, BodyPose, Cameras, DrivingSignal, Gaussians, Rendering

BEHIND = 0.03  # metres that the mouth's branch is taken to lie deeper: more than from the lips to the teeth
UPPER = ("AU01", "AU04", "AU05", "AU06", "AU07", "AU45")  # units that the face's field is told


@final
class BranchDeformed(SoundDeformed):
    """Three stages by the schedule: deaf Gaussians; the fields that move them; colours and opacities, fields at rest.

    Not as published: Gaussians start on a tracked head, not at random, and the head carries them where a camera moved
    about them; the branches share one drawing, the face over the mouth, and one fit, where two were fitted to pictures
    masked by a parser of faces; units are weighed as they are, not clipped; frames are drawn by how seldom their face
    is (`data.balance`), which favours open mouths and blinks, where a window went from closed to open ones; the last
    stage's likeness is of one square of the picture a step, and norms of the attention, that weighed 1e-4, are left
    out. The published mouth's planes shrink from level to level; here both branches have the face's.
    """

    group_names, term_names = ROWS["method"]["branch_deformed"].groups, ROWS["method"]["branch_deformed"].terms

    deformation: nn.ModuleDict
    upper: Tensor
    in_mouth: Tensor
    on_face: Tensor

    def __init__(self, context: MethodContext) -> None:
        """
        Raises:
            UserError: nothing tells the face's action units.
        """
        options = read_options(Options(), context.config.method.options)
        super().__init__(context, options)
        self.reader = unit_reader(self.body, context.pose, context.actions, context.train_frames)
        inside = torch.cat([self.body.regions[name] for name in MOUTH])
        in_mouth = torch.isin(self.figure.faces, inside).all(1)
        self.register_buffer("in_mouth", in_mouth, persistent=False)
        self.register_buffer("on_face", self.on_head & ~in_mouth, persistent=False)
        self.register_buffer("upper", torch.tensor([NAMES.index(name) for name in UPPER]), persistent=False)
        face = FaceField(context.audio_channels, len(UPPER), *self.box)
        self.deformation = nn.ModuleDict({"face": face, "mouth": MouthField(context.audio_channels, *self.box)})
        self.likeness = Likeness(options.perceptual, options.patch)
        self._face, self._mouth = Lying(), Lying()
        self._moves: list[Tensor] = []  # of the last frame

    def heard(
        self, raw: dict[str, Tensor], signal: DrivingSignal, windows: Float[Tensor, "8 16 C"]
    ) -> dict[str, Tensor]:
        face, mouth = self._face.of(self, self.on_face), self._mouth.of(self, self.in_mouth)
        moves = self.deformation["face"](face[1], windows, self.units_of(signal)[0])
        inside = self.deformation["mouth"](mouth[1], windows)
        self._moves = [*moves.values(), inside]
        moves["means"] = self.local(moves["means"], face[0])
        heard = {name: raw[name].index_add(0, face[0], change) for name, change in moves.items()}
        heard["means"] = heard["means"].index_add(0, mouth[0], self.local(inside, mouth[0]))
        return raw | heard

    def seen(self, gaussians: Gaussians, cameras: Cameras) -> Gaussians:
        """The face over the inside of the mouth: that is drawn where it looks the same, but lies deeper."""
        if len(cameras) > 1:
            return super().seen(gaussians, cameras)
        rows = self._mouth.rows(self, self.in_mouth)
        return super().seen(set_behind(gaussians, rows, eyes(cameras.viewmats), BEHIND), cameras)

    def units_of(self, signal: DrivingSignal) -> Float[Tensor, "B 6"]:
        """Intensities of the upper face's units, 0 to 1: the signal's, or read off its pose where it has none."""
        units = self.reader(signal.pose) if signal.actions is None else signal.actions
        return units[:, self.upper] / INTENSITY

    def reposed(self, signal: DrivingSignal, pose: BodyPose) -> DrivingSignal:
        """Recorded units would tell of the recorded pose."""
        return reposed(signal, pose)

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        terms = super().terms(drawn, batch)
        if self.started("deformation"):
            terms["motion"] = torch.cat([moves.abs().flatten() for moves in self._moves])
        if self.counts("perceptual"):
            terms["perceptual"] = self.likeness(drawn[SHOWN].rgb, batch.image, batch.weight)
        return terms
