"""Whether patches of a picture look real, at three scales (pix2pixHD's discriminators; methods C.4)."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

SCALES = 3
CHANNELS = (32, 64, 128)


class PatchCritic(nn.Module):
    """A score a patch, a map a scale; no norm, which one picture at a time would not bear."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_patches() for _ in range(SCALES))

    def forward(self, pictures: Float[Tensor, "B H W 3"]) -> list[Float[Tensor, "B 1 h w"]]:
        seen, scores = 2 * pictures.permute(0, 3, 1, 2) - 1, []
        for patches in self.scales:
            scores.append(patches(seen))
            seen = avg_pool2d(seen, 2)
        return scores

    def deceived(self, made: Float[Tensor, "B H W 3"]) -> Float[Tensor, ""]:
        """What who made the pictures wants small: hinge loss, mean over scales."""
        return -torch.stack([score.mean() for score in self(made)]).mean()

    def loss(self, made: Float[Tensor, "B H W 3"], real: Float[Tensor, "B H W 3"]) -> Float[Tensor, ""]:
        """Its own hinge loss."""
        pairs = zip(self(made), self(real), strict=True)
        return torch.stack([(1 + a).relu().mean() + (1 - b).relu().mean() for a, b in pairs]).mean()


def _patches() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise((3, *CHANNELS)):
        layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(CHANNELS[-1], 1, 3, 1, 1))
