"""Deformation of all Gaussians by sound (GaussianTalker, Cho et al., ACM MM 2024; methods G.4)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from talkingavatar.networks.audio import AudioAttention, AudioNet
from talkingavatar.networks.kept import Kept
from talkingavatar.networks.triplane import TriplaneHash

OFFSETS = {"means": 3, "quats": 4, "scales": 3, "opacities": 1, "sh": 3}
LEAK = 0.1  # slope of the rectifiers below zero
POSITION_SCALE = 1e-2  # metres a unit of the decoder's output


class SpatialAudioDeformation(nn.Module):
    """Each Gaussian asks, from where it lies, the tokens {sound, eyes, nothing} what to do.

    As published: tri-plane features as queries, cross-attention (width 64, 2 heads, feed-forward 128), offsets of all
    attributes. Not as published: hash planes instead of dense ones, no dropout (a resumed run must equal one never
    stopped), no token of the camera, because the head's pose carries the Gaussians here, and leaks in the rectifiers:
    in a short fit a shift common to all Gaussians pushed every unit of the decoder below zero, and the head was deaf
    from then on. Starts as the identity.
    """

    def __init__(
        self,
        audio_channels: int,
        eye_channels: int,
        low: Float[Tensor, " 3"],
        high: Float[Tensor, " 3"],
        width: int = 64,
        heads: int = 2,
    ) -> None:
        """`low`, `high`: corners of the canonical box, in metres, that fills the planes."""
        super().__init__()
        self.register_buffer("centre", (low + high) / 2, persistent=False)
        self.register_buffer("half_extent", (high - low) / 2, persistent=False)
        self.planes = TriplaneHash()
        self.query = nn.Linear(self.planes.features, width)
        self.encoder, self.smoother = AudioNet(audio_channels, width), AudioAttention(width)
        self.eyes = nn.Linear(eye_channels, width)
        self.nothing = nn.Parameter(torch.zeros(1, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.LeakyReLU(LEAK), nn.Linear(2 * width, width))
        self.decoder = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(LEAK), nn.Linear(width, sum(OFFSETS.values()), bias=False)
        )
        nn.init.zeros_(self.decoder[-1].weight)  # type: ignore[arg-type]
        self._places = Kept[tuple[Tensor, Tensor]]()

    centre: Tensor
    half_extent: Tensor

    def forward(
        self, means: Float[Tensor, "N 3"], windows: Float[Tensor, "8 16 C"], eyes: Float[Tensor, " E"]
    ) -> dict[str, Float[Tensor, "N _"]]:
        """Offsets by attribute: metres for means, raw units for the others; `sh` is the constant colour's."""
        learned = (*self.planes.parameters(), *self.query.parameters(), *self.attention.parameters())
        codes, asked = self._places.get(lambda: self._asking(means), means, *learned)
        sound = self.smoother(self.encoder(windows))[None]
        tokens = torch.cat([sound, self.eyes(eyes)[None], self.nothing])
        codes = self.norms[0](codes + self._heard(asked, tokens))
        codes = self.norms[1](codes + self.feed_forward(codes))
        offsets = dict(zip(OFFSETS, self.decoder(codes).split(list(OFFSETS.values()), -1), strict=True))
        offsets["means"] = POSITION_SCALE * offsets["means"]
        return offsets

    def _asking(self, means: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N D"]]:
        """Where each Gaussian lies, as a code, and its query."""
        codes = self.query(self.planes((means - self.centre) / self.half_extent))
        width = codes.shape[1]
        return codes, linear(codes, self.attention.in_proj_weight[:width], self.attention.in_proj_bias[:width])

    def _heard(self, asked: Float[Tensor, "N D"], tokens: Float[Tensor, "T D"]) -> Float[Tensor, "N D"]:
        """`self.attention` to the few tokens that all share: these are projected, not each Gaussian's answer."""
        attention, width = self.attention, asked.shape[1]
        heads = (-1, attention.num_heads, attention.head_dim)
        keys, values = (
            linear(tokens, attention.in_proj_weight[part], attention.in_proj_bias[part]).view(heads)
            for part in (slice(width, 2 * width), slice(2 * width, None))
        )
        scores = torch.einsum("nhd,thd->nht", asked.view(heads), keys) / math.sqrt(attention.head_dim)
        answers = torch.einsum("thd,ohd->hto", values, attention.out_proj.weight.view(width, *heads[1:]))
        return linear(scores.softmax(-1).flatten(1), answers.flatten(0, 1).T, attention.out_proj.bias)
