"""Training of a driver that draws: motion with noise of any level in it, told from it by the sound.

A window's first frames are given without noise half of the time, as they are at work from the second window on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from talkingavatar.body.models import Body
from talkingavatar.config.family_options import Diffusion as Options
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.diffusion.sampler import scheduler
from talkingavatar.drivers.face_vertices import Components, vertex_components
from talkingavatar.drivers.rig_options import FIELD, read, shape_of
from talkingavatar.drivers.rig_training import RigTraining
from talkingavatar.errors import UserError
from talkingavatar.networks.motion_denoiser import LEVELS, MotionDenoiser, Shape
from talkingavatar.training.precision import reduced

CONTINUED = 0.5  # share of the windows whose first frames are known


def read_options(config: FitConfig) -> Options:
    """Options from configuration.

    Raises:
        UserError: as `drivers.rig_options.read`, or windows that overlap whole.
    """
    options = read(Options(), config)
    if options.overlap >= options.length:
        expected = f"fewer than the window's {options.length} frames"
        raise UserError(f"{FIELD}.overlap", str(options.overlap), expected, "lower it, or raise length")
    return options


@final
class DiffusionTraining(RigTraining):
    """One step trains the windows of one batch."""

    name = "diffusion"
    options: Options

    def __init__(self, config: FitConfig, body: Body, clips: Sequence[MotionClip]) -> None:
        """
        Raises:
            UserError: a mistake in the options, the terms or the schedule, or clips that are too short.
        """
        super().__init__(config, body, clips, read_options(config))
        channels = self.clips[0].features.shape[-1]
        self.network = MotionDenoiser(shape_of(Shape, self.options, channels, len(self.space.names), len(self.clips)))
        self.noise = scheduler()

    def components(self) -> Components | None:
        """
        Raises:
            UserError: action units move no vertices.
        """
        if self.options.variable == "expression":
            return None
        if (rig := self.space.rig) is None:
            found = f"{self.options.variable}, of {', '.join(self.space.names[:3])}, ..."
            raise UserError(f"{FIELD}.variable", found, "expression, or parts of a pose as targets", "correct it")
        rows = [rig.read(clip.signal[a:b]) for clip in self.clips for a, b in clip.train]
        return vertex_components(self.body, rig.parts, torch.cat(rows))

    def foretold(
        self,
        features: Float[Tensor, "N L 16 C"],
        speaker: Int[Tensor, " N"],
        truth: Float[Tensor, "N L P"],
        units: Float[Tensor, "N L 17"] | None = None,
    ) -> Float[Tensor, "N L P"]:
        """From the truth with noise in it, or from none of it."""
        count, length = truth.shape[:2]
        level = torch.randint(LEVELS, (count,), device=truth.device)
        if self.options.kind == "ddim":
            noisy = self.noise.add_noise(truth, torch.randn_like(truth), cast(Any, level))
        else:
            noisy, level = torch.zeros_like(truth), torch.full_like(level, LEVELS - 1)
        known = torch.rand(count, 1, device=truth.device) < CONTINUED
        known = known & (torch.arange(length, device=truth.device) < self.options.overlap)
        with reduced(self.config.trainer, self.device):
            heard = self._heard(features, units)
            given = torch.where(known[:, :, None], truth, noisy)
            return self.network(given, known, level, heard, self.network.style(speaker)).float()

    def _heard(
        self, features: Float[Tensor, "N L 16 C"], units: Float[Tensor, "N L 17"] | None
    ) -> Float[Tensor, "N L D"]:
        """Sound and units; of some sequences one of them alone, of as many neither."""
        network, share = self.network, self.options.deaf
        draw = torch.rand(len(features), 1, 1, device=features.device)
        if not self.options.units:
            return torch.where(draw < share, network.quiet, network.hear(features))
        assert units is not None, "clips without units are not trained on"
        sound = torch.where(draw < 2 * share, network.quiet, network.hear(features))
        unprompted = (draw >= share) & (draw < 3 * share)
        return sound + torch.where(unprompted, network.unprompted, network.units(units))
