"""How alike two pictures look: LPIPS where a backbone is found, the difference of their edges where none is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.errors import UserError
from talkingavatar.losses import edge_difference
from talkingavatar.networks.perceptual import find_backbone, load_perceptual

BACKBONES = ("squeeze", "alex", "vgg")  # in the order in which "auto" looks for them: the cheaper first
EDGES = "edges"


class Likeness:
    """Not a module: its weights are files of their own, and no checkpoint holds them."""

    def __init__(self, wanted: str, patch: int = 0) -> None:
        """
        Args:
            wanted: a backbone, "edges", or "auto": the first backbone that is found, else edges.
            patch: pixels of the square, anywhere in the pictures, that is looked at; 0: all of them.

        Raises:
            UserError: the backbone is not there.
        """
        self.name, self.patch, self._network = EDGES, patch, None
        names = BACKBONES if wanted == "auto" else (wanted,) if wanted != EDGES else ()
        for name in names:
            backbone = find_backbone(name)
            if backbone.path is not None:
                self.name, self._network = name, load_perceptual(backbone)
                return
        if wanted not in ("auto", EDGES):
            expected = "its weights, or auto, which takes what is there"
            raise UserError("method.options.perceptual", backbone.why_skipped, expected, "get them, or choose another")

    _network: nn.Module | None

    def __call__(
        self,
        rendered: Float[Tensor, "B H W 3"],
        target: Float[Tensor, "B H W 3"],
        weight: Float[Tensor, "B H W 1"] | None = None,
    ) -> Float[Tensor, " B"]:
        """A distance of each pair.

        Args:
            weight: of each pixel; where it is low, the rendered picture is taken for right.
        """
        if weight is not None:
            rendered = target + weight * (rendered - target)
        rows, columns = (self._span(size) for size in target.shape[1:3])
        rendered, target = rendered[:, rows, columns], target[:, rows, columns]
        if self._network is None:
            return edge_difference(rendered, target)
        self._network.to(rendered.device)
        seen, goal = (2 * picture.permute(0, 3, 1, 2) - 1 for picture in (rendered, target))
        distance: Tensor = self._network(seen, goal)
        return distance.flatten()

    def _span(self, size: int) -> slice:
        if not 0 < self.patch < size:
            return slice(None)
        start = int(torch.randint(size - self.patch + 1, ()))
        return slice(start, start + self.patch)
