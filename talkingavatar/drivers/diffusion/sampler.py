"""Windows of motion drawn from noise, each from where the one before ended; from a whole sound or as it comes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from jaxtyping import Float
from torch import Tensor

from talkingavatar.networks.motion_denoiser import LEVELS, MotionDenoiser

FADE = 6.0  # frames in which a step between two windows falls to a third


def scheduler() -> DDIMScheduler:
    """Noise by a squared cosine, taken from the motion itself; standardised motion is not clipped to +-1."""
    return DDIMScheduler(
        num_train_timesteps=LEVELS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
    )


@dataclass(frozen=True)
class Guidance:
    """How far each condition leads, in increments: none + audio (sound - none) + units (both - sound)."""

    audio: float = 1.0
    units: float = 1.0


class MotionStream:
    """K motions at once, each of its own seed, whatever the others are.

    A window is drawn as soon as its sound, and where it is prompted its units, are there; what comes in pieces gives
    the motion of the whole.
    """

    def __init__(
        self,
        network: MotionDenoiser,
        style: Float[Tensor, "1 D"],
        seeds: list[int],
        steps: int,
        guidance: Guidance,
    ) -> None:
        self.network, self.seeds, self.guidance, self.schedule = network, seeds, guidance, scheduler()
        self.schedule.set_timesteps(steps)
        self.style = style.expand(len(seeds), -1)
        self.heard = self.prompts = style.new_zeros(1, 0, style.shape[1])  # of the window that is waited for
        self.known = style.new_zeros(len(seeds), 0, network.shape.outputs)  # its first frames, where they are made
        self.windows = 0

    @torch.no_grad()
    def push(
        self, features: Float[Tensor, "1 n 16 C"], units: Float[Tensor, "1 u 17"] | None = None
    ) -> Float[Tensor, "K m P"]:
        """The next frames' sound and, of one that is prompted, units; the motion that they make certain, if any."""
        self.heard = torch.cat([self.heard, self.network.hear(features)], 1)
        if units is not None:
            self.prompts = torch.cat([self.prompts, self.network.units(units)], 1)
        made, length = [self.known[:, :0]], self.network.shape.length
        while self._there() >= length:
            made.append(self._window(length))
        return torch.cat(made, 1)

    def _there(self) -> int:
        """Frames that everything is known of."""
        heard = self.heard.shape[1]
        return min(heard, self.prompts.shape[1]) if self.network.shape.units else heard

    @torch.no_grad()
    def finish(self) -> Float[Tensor, "K m P"]:
        """What is left at the sound's end."""
        left = self._there()
        return self._window(left) if left > self.known.shape[1] else self.known[:, :0]

    def _window(self, length: int) -> Float[Tensor, "K m P"]:
        """The first frames of what was heard; those of them that were not known."""
        given, overlap = self.known.shape[1], self.network.shape.overlap
        motion = self._drawn(length)
        self.known, self.windows = motion[:, length - overlap :] if overlap else motion[:, :0], self.windows + 1
        self.heard, self.prompts = self.heard[:, length - overlap :], self.prompts[:, length - overlap :]
        return motion[:, given:]

    def _drawn(self, length: int) -> Float[Tensor, "K L P"]:
        rows, heard = len(self.seeds), self._conditions(length)
        known = torch.zeros(rows, length, dtype=torch.bool, device=self.known.device)
        known[:, : self.known.shape[1]] = True
        given = torch.nn.functional.pad(self.known, (0, 0, 0, length - self.known.shape[1]))
        if self.network.shape.kind != "ddim":
            level = torch.full((rows,), LEVELS - 1, device=given.device)
            return self._joined(self.network(given, known, level, heard[0][1].expand(rows, -1, -1), self.style))
        motion = self._noise(length).to(given)
        for level in self.schedule.timesteps:
            motion = torch.where(known[:, :, None], given, motion)
            told = self._told(motion, known, level.expand(rows).to(given.device), heard)
            motion = self.schedule.step(told, level, motion, return_dict=False)[0]
        return self._joined(motion)

    def _joined(self, motion: Float[Tensor, "K L P"]) -> Float[Tensor, "K L P"]:
        """With the known frames as they are; by how much they were missed fades from the frames after them."""
        count = self.known.shape[1]
        if count == 0:
            return motion
        missed = self.known[:, -1:] - motion[:, count - 1 : count]
        after = torch.arange(1, motion.shape[1] - count + 1, device=motion.device)
        return torch.cat([self.known, motion[:, count:] + missed * (-after / FADE).exp()[:, None]], 1)

    def _conditions(self, length: int) -> list[tuple[float, Float[Tensor, "1 L D"]]]:
        """What the window is drawn with, all of it first, and how much each counts (classifier-free guidance)."""
        sound, guidance = self.heard[:, :length], self.guidance
        quiet = self.network.quiet.expand_as(sound)
        if not self.network.shape.units:
            return [(guidance.audio, sound), (1 - guidance.audio, quiet)]
        both, without = sound + self.prompts[:, :length], self.network.unprompted
        return [
            (guidance.units, both),
            (guidance.audio - guidance.units, sound + without),
            (1 - guidance.audio, quiet + without),
        ]

    def _told(
        self,
        motion: Float[Tensor, "K L P"],
        known: Tensor,
        level: Tensor,
        conditions: list[tuple[float, Float[Tensor, "1 L D"]]],
    ) -> Float[Tensor, "K L P"]:
        """With each condition that counts, all at once."""
        counting = [(weight, heard) for weight, heard in conditions if weight != 0]
        count, rows = len(counting), len(motion)
        heard = torch.cat([heard.expand(rows, -1, -1) for _, heard in counting])
        again = (torch.cat([part] * count) for part in (motion, known, level))
        told = self.network(*again, heard, torch.cat([self.style] * count)).chunk(count)
        return torch.stack([weight * part for (weight, _), part in zip(counting, told, strict=True)]).sum(0)

    def _noise(self, length: int) -> Float[Tensor, "K L P"]:
        """Of a row's seed and the window's number alone; drawn by the host, so that every device has the same."""
        draws = [torch.Generator().manual_seed(seed * 1_000_003 + self.windows) for seed in self.seeds]
        return torch.stack([torch.randn(length, self.network.shape.outputs, generator=draw) for draw in draws])
