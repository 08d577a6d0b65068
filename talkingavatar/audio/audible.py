"""Which parameters are audible: how well a linear guess follows each on speech it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

BLOCKS = 5  # of each stretch, one left out at a time
MOST_COLUMNS = 512  # of a guess: neighbouring steps of a window are averaged until there are no more
STRENGTH = 15.0  # of the ridge, times the root of the frames: between what suits seconds and what suits minutes


def audible_correlation(
    stretches: Sequence[tuple[Float[Tensor, "_ 16 C"], Float[Tensor, "_ P"]]],
) -> Float[Tensor, " P"]:
    """Cross-validated correlation of P parameters with their best linear guess from each frame's feature window.

    Args:
        stretches: features and parameters of neighbouring frames; each counts from its own mean, so that it does not
            matter how speakers differ. One that is too short to be cut into blocks is left out.

    Returns:
        Between -1 and 1; 0 for a parameter that does not move, and for all where nothing is long enough.
    """
    used = [(_columns(features), values) for features, values in stretches if len(values) >= 2 * BLOCKS]
    count = stretches[0][1].shape[1]
    if not used:
        return stretches[0][1].new_zeros(count)
    x, y = (torch.cat([part - part.mean(0) for part in parts]).double() for parts in zip(*used, strict=True))
    x, y = (part / part.std(0).clamp_min(1e-6) for part in (x, y))
    block = torch.cat([torch.arange(len(values)) * BLOCKS // len(values) for _, values in used])
    guess, strength = torch.zeros_like(y), STRENGTH * len(x) ** 0.5
    whole, mixed = x.T @ x, x.T @ y
    identity = torch.eye(x.shape[1], dtype=x.dtype)
    for number in range(BLOCKS):
        out = x[block == number]
        normal = whole - out.T @ out + strength * identity
        guess[block == number] = out @ torch.linalg.solve(normal, mixed - out.T @ y[block == number])
    scale = (guess.square().sum(0) * y.square().sum(0)).sqrt()
    return torch.where(scale > 1e-9, (guess * y).sum(0) / scale.clamp_min(1e-9), 0.0).to(stretches[0][1].dtype)


def _columns(features: Float[Tensor, "_ 16 C"]) -> Float[Tensor, "_ F"]:
    steps = 8
    while steps > 1 and steps * features.shape[2] > MOST_COLUMNS:
        steps //= 2
    return features.unflatten(1, (steps, -1)).mean(2).flatten(1)
