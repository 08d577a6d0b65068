"""Windows of motion drawn from noise, each from where the one before ended; from a whole sound or as it comes."""

from __future__ import annotations

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


class MotionStream:
    """K motions at once, each of its own seed, whatever the others are.

    A window is drawn as soon as its sound is there; a sound that comes in pieces gives the motion of the whole.
    """

    def __init__(
        self,
        network: MotionDenoiser,
        style: Float[Tensor, "1 D"],
        seeds: list[int],
        steps: int,
        guidance: float,
    ) -> None:
        self.network, self.seeds, self.guidance, self.schedule = network, seeds, guidance, scheduler()
        self.schedule.set_timesteps(steps)
        self.style = style.expand(len(seeds), -1)
        self.heard = style.new_zeros(1, 0, style.shape[1])  # of the window that is waited for
        self.known = style.new_zeros(len(seeds), 0, network.shape.outputs)  # its first frames, where they are made
        self.windows = 0

    @torch.no_grad()
    def push(self, features: Float[Tensor, "1 n 16 C"]) -> Float[Tensor, "K m P"]:
        """The next frames' sound; the motion that it makes certain, possibly of no frame."""
        self.heard = torch.cat([self.heard, self.network.hear(features)], 1)
        made, length = [self.known[:, :0]], self.network.shape.length
        while self.heard.shape[1] >= length:
            made.append(self._window(length))
        return torch.cat(made, 1)

    @torch.no_grad()
    def finish(self) -> Float[Tensor, "K m P"]:
        """What is left at the sound's end."""
        left = self.heard.shape[1]
        return self._window(left) if left > self.known.shape[1] else self.known[:, :0]

    def _window(self, length: int) -> Float[Tensor, "K m P"]:
        """The first frames of what was heard; those of them that were not known."""
        given, overlap = self.known.shape[1], self.network.shape.overlap
        motion = self._drawn(self.heard[:, :length])
        self.known, self.windows = motion[:, length - overlap :] if overlap else motion[:, :0], self.windows + 1
        self.heard = self.heard[:, length - overlap :]
        return motion[:, given:]

    def _drawn(self, heard: Float[Tensor, "1 L D"]) -> Float[Tensor, "K L P"]:
        rows, length = len(self.seeds), heard.shape[1]
        known = torch.zeros(rows, length, dtype=torch.bool, device=heard.device)
        known[:, : self.known.shape[1]] = True
        given = torch.nn.functional.pad(self.known, (0, 0, 0, length - self.known.shape[1]))
        if self.network.shape.kind != "ddim":
            level = torch.full((rows,), LEVELS - 1, device=heard.device)
            return self._joined(self.network(given, known, level, heard.expand(rows, -1, -1), self.style))
        motion = self._noise(length).to(heard)
        for level in self.schedule.timesteps:
            motion = torch.where(known[:, :, None], given, motion)
            told = self._told(motion, known, level.expand(rows).to(heard.device), heard)
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

    def _told(
        self,
        motion: Float[Tensor, "K L P"],
        known: Tensor,
        level: Tensor,
        heard: Float[Tensor, "1 L D"],
    ) -> Float[Tensor, "K L P"]:
        """With the sound; beyond that, away from what it would be without (classifier-free guidance)."""
        rows = len(motion)
        if self.guidance == 1:
            return self.network(motion, known, level, heard.expand(rows, -1, -1), self.style)
        quiet = self.network.quiet.expand_as(heard)
        both = torch.cat([heard.expand(rows, -1, -1), quiet.expand(rows, -1, -1)])
        twice = (torch.cat([part, part]) for part in (motion, known, level))
        with_sound, without = self.network(*twice, both, torch.cat([self.style, self.style])).chunk(2)
        return without + self.guidance * (with_sound - without)

    def _noise(self, length: int) -> Float[Tensor, "K L P"]:
        """Of a row's seed and the window's number alone; drawn by the host, so that every device has the same."""
        draws = [torch.Generator().manual_seed(seed * 1_000_003 + self.windows) for seed in self.seeds]
        return torch.stack([torch.randn(length, self.network.shape.outputs, generator=draw) for draw in draws])
