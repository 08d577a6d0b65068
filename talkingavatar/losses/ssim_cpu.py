"""SSIM and its gradient on the CPU, compiled: torch's small convolutions take twenty times as long there.

The plain version is `losses.image.ssim_map`; tests hold the two together.
"""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

C1, C2 = np.float32(0.01**2), np.float32(0.03**2)
RADIUS = 5


def _window(sigma: float = 1.5) -> np.ndarray:
    x = np.arange(-RADIUS, RADIUS + 1)
    weights = np.exp(-(x * x) / (2 * sigma * sigma))
    return (weights / weights.sum()).astype(np.float32)


WINDOW = _window()


@njit(parallel=True, fastmath=True, cache=True)
@no_type_check
def _blur(planes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Separable window over each of the planes (P, H, W), zero padded; its own adjoint."""
    count, height, width = planes.shape
    rows = np.empty_like(planes)
    out = np.empty_like(planes)
    for row in prange(count * height):
        p, y = row // height, row % height
        padded = np.zeros(width + 2 * RADIUS, np.float32)
        padded[RADIUS : RADIUS + width] = planes[p, y]
        line = np.zeros(width, np.float32)
        for k in range(2 * RADIUS + 1):
            weight = window[k]
            for x in range(width):
                line[x] += weight * padded[x + k]
        rows[p, y] = line
    for row in prange(count * height):
        p, y = row // height, row % height
        line = np.zeros(width, np.float32)
        for k in range(max(0, RADIUS - y), min(2 * RADIUS + 1, height + RADIUS - y)):
            weight = window[k]
            for x in range(width):
                line[x] += weight * rows[p, y + k - RADIUS, x]
        out[p, y] = line
    return out


@njit(parallel=True, fastmath=True, cache=True)
@no_type_check
def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The five planes a, b, a^2, b^2, ab of each plane, stacked."""
    count, height, width = a.shape
    out = np.empty((5 * count, height, width), np.float32)
    for row in prange(count * height):
        p, y = row // height, row % height
        for x in range(width):
            u, v = a[p, y, x], b[p, y, x]
            out[p, y, x] = u
            out[count + p, y, x] = v
            out[2 * count + p, y, x] = u * u
            out[3 * count + p, y, x] = v * v
            out[4 * count + p, y, x] = u * v
    return out


@njit(parallel=True, fastmath=True, cache=True)
@no_type_check
def _similarity(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM (P, H, W) and its derivatives with respect to blurred a, a^2 and ab (3P, H, W)."""
    count = moments.shape[0] // 5
    height, width = moments.shape[1:]
    ssim = np.empty((count, height, width), np.float32)
    slopes = np.empty((3 * count, height, width), np.float32)
    two = np.float32(2)
    for row in prange(count * height):
        p, y = row // height, row % height
        for x in range(width):
            ma, mb = moments[p, y, x], moments[count + p, y, x]
            va = moments[2 * count + p, y, x] - ma * ma
            vb = moments[3 * count + p, y, x] - mb * mb
            cov = moments[4 * count + p, y, x] - ma * mb
            a1, a2 = two * ma * mb + C1, two * cov + C2
            b1, b2 = ma * ma + mb * mb + C1, va + vb + C2
            scale = np.float32(1) / (b1 * b2)
            s = a1 * a2 * scale
            ssim[p, y, x] = s
            slopes[p, y, x] = two * mb * (a2 - a1) * scale - s * two * ma * (b2 - b1) * scale
            slopes[count + p, y, x] = -s / b2
            slopes[2 * count + p, y, x] = two * a1 * scale
    return ssim, slopes


class _Ssim(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, a: Tensor, b: Tensor) -> Tensor:
        shape = a.shape
        planes_a = a.detach().reshape(-1, *shape[-2:]).contiguous().numpy()
        planes_b = b.detach().reshape(-1, *shape[-2:]).contiguous().numpy()
        ssim, slopes = _similarity(_blur(_products(planes_a, planes_b), WINDOW))
        ctx.planes = (planes_a, planes_b, slopes)  # type: ignore[attr-defined]
        return torch.from_numpy(ssim).reshape(shape)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        a, b, slopes = ctx.planes  # type: ignore[attr-defined]
        grad = grads[0].reshape(a.shape).contiguous().numpy()
        count = a.shape[0]
        spread = _blur(slopes * np.concatenate([grad] * 3), WINDOW)
        result = spread[:count] + 2 * a * spread[count : 2 * count] + b * spread[2 * count :]
        return torch.from_numpy(result).reshape(grads[0].shape), None


def ssim_map_cpu(a: Float[Tensor, "B C H W"], b: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """SSIM per pixel of float32 CPU pictures; gradient to `a` only."""
    return _Ssim.apply(a, b)
