"""JoyVASA's motion generator (arXiv 2411.09209; DiffPoseTalk's, arXiv 2310.00434): LivePortrait's motion from sound.

Keys and shapes are those of the published `iter_0020000.pt`. What is odd in it is kept, because its weights were
trained so: the position that is added to a window's frames is the same for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

HEADS, LAYERS, WIDER, POSITIONS = 8, 8, 4, 600
GUIDANCE = 1.15


@dataclass(frozen=True)
class Sizes:
    """Of a file, which brings them as arguments of its training."""

    motion: int = 70  # numbers of a frame: expression 63, scale, shift 3, pitch, yaw, roll
    frames: int = 100  # of a window
    before: int = 10  # frames that are known before it
    width: int = 512
    heard: int = 768  # numbers of a frame's sound
    steps: int = 500  # of the diffusion
    layers: int = LAYERS


PUBLISHED = Sizes()


def sinusoids(count: int, width: int) -> Float[Tensor, "N C"]:
    """Rows are positions: sines and cosines of ever slower waves, in turn (arXiv 1706.03762)."""
    angles = np.arange(count)[:, None] * np.exp(np.arange(0, width, 2) * (-log(10000.0) / width))
    return torch.from_numpy(np.stack([np.sin(angles), np.cos(angles)], -1).reshape(count, -1).astype(np.float32))


class Positions(nn.Module):
    pe: Tensor

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.register_buffer("pe", sinusoids(count, width)[None])


class Schedule(nn.Module):
    """Cosine (arXiv 2102.09672), with step 0, at which nothing is noise."""

    betas: Tensor
    alphas: Tensor
    alpha_bars: Tensor
    sigmas_inflex: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        wanted = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * pi / 2) ** 2
        betas = np.append(0.0, (1 - wanted[1:] / wanted[:-1]).clip(1e-4, 0.999))
        bars = np.cumprod(1 - betas)
        fixed = (1 - np.append(1.0, bars[:-1])) / (1 - bars).clip(1e-12) * betas
        kept = {"betas": betas, "alphas": 1 - betas, "alpha_bars": bars, "sigmas_flex": np.sqrt(betas),
                "sigmas_inflex": np.sqrt(fixed)}  # fmt: skip
        for name, values in kept.items():
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)))


class Denoiser(nn.Module):
    """A window of noisy motion, the frames before it and the sound of both to the motion without noise."""

    alignment_mask: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, length = sizes.width, sizes.before + sizes.frames
        self.TE = Positions(sizes.steps + 1, width)
        self.PE = Positions(POSITIONS, width)
        self.diff_step_map = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.feature_proj = nn.Linear(sizes.motion, width)
        layer = nn.TransformerDecoderLayer(width, HEADS, WIDER * width, activation="gelu", batch_first=True)
        self.transformer = nn.TransformerDecoder(layer, sizes.layers)
        apart = torch.from_numpy(~np.eye(length, dtype=bool))
        self.register_buffer("alignment_mask", apart)  # a frame hears its own sound alone
        self.motion_dec = nn.Sequential(nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, sizes.motion))

    def forward(
        self, motion: Float[Tensor, "B L D"], heard: Float[Tensor, "B L C"], step: int
    ) -> Float[Tensor, "B L D"]:
        place = self.PE.pe[:, motion.shape[1]] + self.diff_step_map(self.TE.pe[:, step])
        known = self.feature_proj(motion) + place[:, None]
        return self.motion_dec(self.transformer(known, heard, memory_mask=self.alignment_mask))


class JoyVasa(nn.Module):
    """The file's network without its listener (`audio_encoder`)."""

    def __init__(self, sizes: Sizes = PUBLISHED) -> None:
        super().__init__()
        self.sizes = sizes
        self.audio_feature_map = nn.Linear(sizes.heard, sizes.width)
        self.start_audio_feat = nn.Parameter(torch.zeros(1, sizes.before, sizes.width))
        self.start_motion_feat = nn.Parameter(torch.zeros(1, sizes.before, sizes.motion))
        self.null_audio_feat = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.denoising_net = Denoiser(sizes)
        self.diffusion_sched = Schedule(sizes.steps)

    @torch.no_grad()
    def sample(
        self,
        heard: Float[Tensor, "W N C"],
        noise: torch.Generator,
        guidance: float = GUIDANCE,
    ) -> Float[Tensor, "T D"]:
        """Motion of W windows of sound, each going on from the one before; all steps are taken.

        Args:
            heard: numbers of the listener's, a row a frame.
            noise: what the result is drawn with.
            guidance: how far to go from motion without sound to motion with it.
        """
        before: Tensor = self.start_motion_feat
        sound_before: Tensor = self.start_audio_feat
        windows: list[Tensor] = []
        shape = (1, self.sizes.frames, self.sizes.motion)
        first = torch.randn(shape, generator=noise).to(before.device)  # all windows begin at the same
        for window in heard:
            sound = self.audio_feature_map(window[None])
            windows.append(self._window(first, before, sound_before, sound, noise, guidance))
            before, sound_before = windows[-1][:, -self.sizes.before :], sound[:, -self.sizes.before :]
        return torch.cat(windows, 1)[0]

    def _window(
        self,
        motion: Float[Tensor, "1 N D"],
        before: Float[Tensor, "1 P D"],
        sound_before: Float[Tensor, "1 P C"],
        sound: Float[Tensor, "1 N C"],
        noise: torch.Generator,
        guidance: float,
    ) -> Float[Tensor, "1 N D"]:
        plan, count = self.diffusion_sched, motion.shape[1]
        silent = self.null_audio_feat.expand(-1, count, -1)
        heard = torch.cat([sound_before.expand(2, -1, -1), torch.cat([silent, sound])], 1)
        for step in range(self.sizes.steps, 0, -1):
            known = torch.cat([before, motion], 1).expand(2, -1, -1)
            without, told = self.denoising_net(known, heard, step)[:, -count:].split(1)
            clean = without + guidance * (told - without)
            alpha, bar, earlier = plan.alphas[step], plan.alpha_bars[step], plan.alpha_bars[step - 1]
            motion = ((1 - earlier) * alpha.sqrt() * motion + (1 - alpha) * earlier.sqrt() * clean) / (1 - bar)
            if step > 1:
                drawn = torch.randn(motion.shape, generator=noise).to(motion.device)
                motion = motion + plan.sigmas_inflex[step] * drawn
        return motion
