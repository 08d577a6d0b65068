"""LPIPS as a metric."""

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.networks.perceptual import Backbone, load_perceptual


class Lpips:
    """LPIPS v0.1 of pictures in [0, 1]. Not a module of any method, so never in a checkpoint."""

    def __init__(self, backbone: Backbone, device: torch.device | str = "cpu") -> None:
        """
        Raises:
            UserError: the file is not the backbone's weights.
        """
        self.network = load_perceptual(backbone).to(device)
        self.device = device

    @torch.no_grad()
    def __call__(self, a: Float[Tensor, "H W 3"], b: Float[Tensor, "H W 3"]) -> float:
        """Distance of two pictures; values outside [0, 1] are a mistake of the caller's."""
        for image in (a, b):
            if image.min() < 0 or image.max() > 1:
                raise ValueError(f"LPIPS wants [0, 1], got [{float(image.min())}, {float(image.max())}]")
        x, y = (image.permute(2, 0, 1)[None].to(self.device) * 2 - 1 for image in (a, b))
        return float(self.network(x, y))
