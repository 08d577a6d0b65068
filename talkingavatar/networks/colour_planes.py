"""Colours told by where Gaussians lie, not by each for itself: EmoDiffTalk's (methods D.2)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.networks.residual import silent_layers
from talkingavatar.networks.triplane import TriplaneHash

WIDTH = 32


class ColourPlanes(nn.Module):
    """What is added to the colours that Gaussians begin with; nothing at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.planes = TriplaneHash()
        self.network = silent_layers(self.planes.features, WIDTH, 3)

    def forward(self, places: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Of the spherical harmonics' constant.

        Args:
            places: where the Gaussians lie at rest, in [-1, 1].
        """
        colours: Tensor = self.network(self.planes(places))
        return colours
