"""Losses that tell what goes together from what does not."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

ELSEWHERE = 1_000_000  # frames apart: another clip


def anchored(
    embedding: Float[Tensor, "N D"], shape: Float[Tensor, "N K"], basis: Float[Tensor, "K D"]
) -> Float[Tensor, " n"]:
    """Squared distance of embeddings to where `basis` puts a mouth of that shape, in units of its mean over mouths.

    Windows whose mouth is not known (NaN) are left out.
    """
    known = shape.isfinite().all(1)
    wanted = shape[known] @ basis
    return (embedding[known] - wanted).square().sum(1) / basis.square().sum()


def sync_contrast(distances: Float[Tensor, "N N"], apart: Int[Tensor, "N N"], near: int = 1) -> Float[Tensor, " two_N"]:
    """InfoNCE on minus the distance, for each window of lips (rows) among the sound of its clip, and the reverse.

    Args:
        distances: of lips i to sound j; the diagonal is in sync.
        apart: frames between the two windows, `ELSEWHERE` for windows of different clips. These are no negatives: who
            speaks is told from face and voice without looking at the lips.
        near: nor are windows up to so many frames apart: they share nearly all they show.
    """
    others = ~torch.eye(len(distances), dtype=torch.bool, device=distances.device)
    left_out = (apart.abs() <= near) | (apart == ELSEWHERE)
    logits = -distances.masked_fill(left_out & others, torch.inf)
    truth = torch.arange(len(logits), device=logits.device)
    return torch.cat([cross_entropy(side, truth, reduction="none") for side in (logits, logits.T)])
