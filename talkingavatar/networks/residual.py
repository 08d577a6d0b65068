"""What residuals of Gaussians share: where each lies, layers that are silent at first, changes of raw attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.networks.kept import Kept

OCTAVES = 4  # of the places, as published (VASA-3D)
PLACED = 3 + 6 * OCTAVES  # numbers of an encoded place
MARGIN = 0.05  # metres round the figure at rest, which is the places' box


class RestBox(nn.Module):
    """Places at rest in [-1, 1] of the box round a figure."""

    low: Tensor
    extent: Tensor

    def __init__(self, rest: Float[Tensor, "V 3"]) -> None:
        """`rest`: the figure's vertices, metres."""
        super().__init__()
        self.register_buffer("low", rest.amin(0) - MARGIN, persistent=False)
        self.register_buffer("extent", rest.amax(0) - rest.amin(0) + 2 * MARGIN, persistent=False)
        self._kept = Kept[Tensor]()

    def forward(self, places: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        return 2 * (places - self.low) / self.extent - 1

    def kept(self, places: Callable[[], Float[Tensor, "N 3"]], *of: Tensor) -> Float[Tensor, "N 3"]:
        """Of places that these tensors tell, found once while none of them changes; no gradient goes to them."""

        @torch.no_grad()
        def found() -> Tensor:
            return self(places())

        return self._kept.get(found, *of, graph=False)


def encoded(places: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
    """Places in [-1, 1] with the sines and cosines of their octaves, C = `PLACED`."""
    turns = places[:, None] * (math.pi * 2.0 ** torch.arange(OCTAVES, device=places.device))[:, None]
    return torch.cat([places, turns.sin().flatten(1), turns.cos().flatten(1)], 1)


def silent_layers(given: int, width: int, out: int) -> nn.Sequential:
    """Three layers, whose outputs are zero until they have learned."""
    hidden = [part for a, b in pairwise((given, width, width)) for part in (nn.Linear(a, b), nn.ReLU())]
    last = nn.Linear(width, out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*hidden, last)


def changed(raw: Mapping[str, Tensor], changes: Mapping[str, Float[Tensor, "N _"]]) -> dict[str, Tensor]:
    """Raw attributes with their changes; that of `sh` is the constant colour's."""
    made = {name: raw[name] + change.view_as(raw[name]) for name, change in changes.items() if name != "sh"}
    if "sh" in changes:
        made["sh"] = torch.cat([raw["sh"][:, :1] + changes["sh"][:, None], raw["sh"][:, 1:]], 1)
    return {**raw, **made}
