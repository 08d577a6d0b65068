"""Audio encoders of the ER-NeRF family (methods: THGS, and the NeRF/Gaussian baselines)."""

from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AudioNet(nn.Module):
    """One feature window of 16 steps to one vector: four strided convolutions, then two linear layers."""

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        sizes = [channels, 32, 32, 64, 64]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Conv1d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(0.02)]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.02), nn.Linear(64, width))
        # He initialisation: torch's own shrinks the signal at each of six layers until nothing is heard of the sound.
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, a=0.02)
                nn.init.zeros_(cast(nn.Parameter, layer.bias))

    def forward(self, windows: Float[Tensor, "B 16 C"]) -> Float[Tensor, "B D"]:
        return self.head(self.convolutions(windows.transpose(1, 2)).squeeze(-1))


class AudioAttention(nn.Module):
    """Weighted mean of the codes of 8 consecutive frames, with weights seen from the codes themselves."""

    def __init__(self, width: int = 32, frames: int = 8) -> None:
        super().__init__()
        sizes = [width, 16, 8, 4, 2, 1]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Conv1d(before, after, 3, padding=1), nn.LeakyReLU(0.02)]
        self.convolutions = nn.Sequential(*layers)
        self.weights = nn.Linear(frames, frames)
        # The window is [i-4, i+4): start by listening to frame i, not to the mean of a third of a second.
        with torch.no_grad():
            self.weights.bias[frames // 2] += 3.0

    def forward(self, codes: Float[Tensor, "8 D"]) -> Float[Tensor, " D"]:
        scores = self.weights(self.convolutions(codes.T[None])[0, 0])
        return scores.softmax(0) @ codes

    def of_each(self, codes: Float[Tensor, "B 8 D"]) -> Float[Tensor, "B D"]:
        """The same of many frames at once."""
        scores = self.weights(self.convolutions(codes.mT)[:, 0])
        return (scores.softmax(1)[:, None] @ codes)[:, 0]
