"""Losses that tell what goes together from what does not."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

ELSEWHERE = 1_000_000  # frames apart: another clip


def sync_contrast(distances: Float[Tensor, "N N"], apart: Int[Tensor, "N N"], near: int = 1) -> Float[Tensor, " two_N"]:
    """InfoNCE on minus the distance, for each window of lips (rows) among all sound and each of sound among all lips.

    Args:
        distances: of lips i to sound j; the diagonal is in sync.
        apart: frames between the two windows, `ELSEWHERE` for windows of different clips.
        near: windows up to so many frames apart are no negatives: they share nearly all they show.
    """
    others = ~torch.eye(len(distances), dtype=torch.bool, device=distances.device)
    logits = -distances.masked_fill((apart.abs() <= near) & others, torch.inf)
    truth = torch.arange(len(logits), device=logits.device)
    return torch.cat([cross_entropy(side, truth, reduction="none") for side in (logits, logits.T)])
