"""A baseline in the style of GaussianTalker (Cho et al. 2024): sound deforms the Gaussians, no rig moves the face.

The actions of the tracked eyes are heard beside the sound, as the published method is given them too.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.config.family_options import AudioDeformed as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.sound_deformed import EYES, Lying, SoundDeformed
from talkingavatar.networks.spatial_audio import SpatialAudioDeformation
from talkingavatar.types import DrivingSignal


@final
class AudioDeformed(SoundDeformed):
    """What sound does to a Gaussian depends on where it lies; nothing ties neighbours together."""

    group_names, term_names = ROWS["method"]["audio_deformed"].groups, ROWS["method"]["audio_deformed"].terms

    eyes: Tensor
    deformation: SpatialAudioDeformation

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context, read_options(Options(), context.config.method.options))
        names = self.body.expression_names
        eyes = [i for i, name in enumerate(names) if name.startswith(EYES)] or list(range(len(names)))
        self.register_buffer("eyes", torch.tensor(eyes), persistent=False)
        self.deformation = SpatialAudioDeformation(context.audio_channels, len(eyes), *self.box)
        self._head = Lying()

    def heard(
        self, raw: dict[str, Tensor], signal: DrivingSignal, windows: Float[Tensor, "8 16 C"]
    ) -> dict[str, Tensor]:
        chosen, canonical = self._head.of(self, self.on_head)
        offsets = self.deformation(canonical, windows, signal.pose.expression[0, self.eyes])
        offsets["means"] = self.local(offsets["means"], chosen)
        offsets["opacities"] = offsets["opacities"][:, 0]
        # Of the spherical harmonics, only the constant one changes.
        colours = torch.zeros_like(raw["sh"][:, 0]).index_add(0, chosen, offsets.pop("sh"))
        heard = {name: raw[name].index_add(0, chosen, change) for name, change in offsets.items()}
        return heard | {"sh": torch.cat([raw["sh"][:, :1] + colours[:, None], raw["sh"][:, 1:]], 1)}
