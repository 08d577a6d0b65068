"""`networks.footing.Footing.of` compiled, where nothing is learned through it."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from torch import Tensor

from talkingavatar.networks.cpu import BLOCK
from talkingavatar.splatting.cpu.launch import kernel, spread

f32 = np.float32


@kernel
@no_type_check
def taken(part, parts, corners, shares, values, out):
    """out (N C): each row's mean of its vertices' values."""
    for block in range(part, (len(out) + BLOCK - 1) // BLOCK, parts):
        for g in range(block * BLOCK, min((block + 1) * BLOCK, len(out))):
            for c in range(values.shape[1]):
                total = f32(0)
                for k in range(corners.shape[1]):
                    total += shares[g, k] * values[corners[g, k], c]
                out[g, c] = total


def taken_cpu(corners: Tensor, shares: Tensor, values: Tensor) -> Tensor:
    """Of float32 CPU tensors."""
    out = np.empty((len(corners), values.shape[1]), f32)
    read = (x.detach().contiguous().numpy() for x in (corners, shares, values))
    spread(taken, *read, out)
    return torch.from_numpy(out)
