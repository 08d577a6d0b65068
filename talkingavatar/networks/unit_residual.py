"""What action units do to opacity and rotation of Gaussians beyond the rig: EmoDiffTalk's third stage (methods D.2)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.body.action_units import INTENSITY, NAMES
from talkingavatar.networks.residual import PLACED, encoded, silent_layers

MOST = {"opacities": 2.0, "quats": 0.3}  # of a change: logit; of a quaternion of length 1
DIRECTION = 5  # numbers of a Gaussian's answer to a unit: of its opacity, and of its quaternion
WIDTH = 32


class UnitResidual(nn.Module):
    """Changes of raw opacities and quaternions; none at the start, and never more than `MOST`.

    Each Gaussian has a line of floats for each unit, and the units weigh them. In proportion, the lines say themselves
    what changes; as networks (published), the weighted line, the units and the Gaussian's place are read for its
    opacity; its quaternion, the units and its place for its rotation.
    """

    def __init__(self, networks: bool, features: int) -> None:
        """`features`: floats of a line that networks read."""
        super().__init__()
        self.networks, self.features = networks, features if networks else DIRECTION
        if networks:
            told = len(NAMES) + PLACED
            self.opacity = silent_layers(features + told, WIDTH, 1)
            self.rotation = silent_layers(4 + told, WIDTH, 4)

    def lines(self, count: int) -> Float[Tensor, "N F 17"]:
        """Those of new Gaussians; at zero where they would be changes themselves."""
        lines = torch.zeros(count, self.features, len(NAMES))
        return lines.normal_(std=0.1) if self.networks else lines

    def forward(
        self,
        lines: Float[Tensor, "N F 17"],
        units: Float[Tensor, " 17"],
        places: Float[Tensor, "N 3"] | None = None,
        quats: Float[Tensor, "N 4"] | None = None,
    ) -> dict[str, Float[Tensor, "N _"]]:
        """
        Args:
            units: intensities, 0 to 5.
            places: where the Gaussians lie at rest, in [-1, 1]; for networks, as what follows.
            quats: their raw quaternions.
        """
        shares = units / INTENSITY
        weighted = lines @ shares
        if places is None or quats is None:
            return _limited(weighted[:, :1], weighted[:, 1:])
        told = torch.cat([shares.expand(len(lines), -1), encoded(places)], 1)
        return _limited(self.opacity(torch.cat([weighted, told], 1)), self.rotation(torch.cat([quats, told], 1)))


def _limited(opacities: Float[Tensor, "N 1"], quats: Float[Tensor, "N 4"]) -> dict[str, Float[Tensor, "N _"]]:
    return {name: MOST[name] * change.tanh() for name, change in (("opacities", opacities), ("quats", quats))}
