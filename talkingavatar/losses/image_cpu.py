"""Losses between pictures, compiled for CPUs: torch's own operations pass over the picture a dozen times on one thread.

The plain versions are in `losses.image` and `losses.geometry`; tests hold both together. Pictures are rows of W x 3
numbers; a strip of rows is a unit of work.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.autograd.function import once_differentiable

from talkingavatar.splatting.cpu.launch import kernel, spread

f32 = np.float32
C1, C2 = f32(0.01**2), f32(0.03**2)
ONE, TWO, HALF = f32(1), f32(2), f32(0.5)
RADIUS, CHANNELS = 5, 3
TAPS, PAD = 2 * RADIUS + 1, RADIUS * CHANNELS
STRIP = 32  # rows
PLANES = 4  # blurred at once: the sum and the difference of both pictures and the squares of these
CHUNK = 192  # numbers of a row; loops of a known length over one array become vector instructions
# Chunks of what is computed of a row: blurred planes, then the loss and its slopes.
S0, S1, S2, S3, LOSS, BY_A, BY_AA, BY_AB = (np.uintp(k * CHUNK) for k in range(8))


def _window(sigma: float = 1.5) -> np.ndarray:
    x = np.arange(-RADIUS, RADIUS + 1)
    weights = np.exp(-(x * x) / (2 * sigma * sigma))
    return (weights / weights.sum()).astype(np.float32)


WINDOW = _window()
W0, W1, W2, W3, W4, W5 = (f32(w) for w in WINDOW[: RADIUS + 1])


@kernel
@no_type_check
def column_sums(ring, newest, planes, stride, line):
    """The window down the 11 rows of the ring (flat, PLANES of `stride` numbers a row), into the padded line."""
    length = np.uintp(stride - 2 * PAD)
    for q in range(planes):
        r = np.empty(TAPS, np.uintp)
        for k in range(TAPS):
            r[k] = np.uintp(((newest + 1 + k) % TAPS * PLANES + q) * stride)
        r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 = r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10]
        o = np.uintp(q * stride + PAD)
        # Two loops: of more arrays at once the compiler does not prove that they lie apart.
        for i in range(length):
            outer = W0 * (ring[r0 + i] + ring[r10 + i]) + W1 * (ring[r1 + i] + ring[r9 + i])
            line[o + i] = outer + W2 * (ring[r2 + i] + ring[r8 + i])
        for i in range(length):
            inner = W3 * (ring[r3 + i] + ring[r7 + i]) + W4 * (ring[r4 + i] + ring[r6 + i])
            line[o + i] += inner + W5 * ring[r5 + i]


@kernel
@no_type_check
def row_sums(line, start, s, into):
    """The window along one chunk of the padded line."""
    p, sums = line[start : start + CHUNK + 2 * PAD], s[into : into + CHUNK]
    for i in range(CHUNK):  # neighbours lie 3 numbers apart
        far = W0 * (p[i] + p[i + 30]) + W1 * (p[i + 3] + p[i + 27]) + W2 * (p[i + 6] + p[i + 24])
        near = W3 * (p[i + 9] + p[i + 21]) + W4 * (p[i + 12] + p[i + 18]) + W5 * p[i + 15]
        sums[i] = far + near


@kernel
@no_type_check
def similarity(s):
    """1 - SSIM of a chunk, and its slopes by the blurred a, a^2 and ab."""
    for i in range(np.uintp(CHUNK)):
        ma, mb = HALF * (s[S0 + i] + s[S1 + i]), HALF * (s[S0 + i] - s[S1 + i])
        squares, cross = HALF * (s[S2 + i] + s[S3 + i]), HALF * HALF * (s[S2 + i] - s[S3 + i])
        a1, b1 = TWO * ma * mb + C1, ma * ma + mb * mb + C1
        a2, b2 = TWO * (cross - ma * mb) + C2, squares - ma * ma - mb * mb + C2
        scale = ONE / (b1 * b2)
        ssim = a1 * a2 * scale
        s[LOSS + i] = ONE - ssim
        s[BY_A + i] = TWO * scale * (ssim * ma * (b2 - b1) - mb * (a2 - a1))
        s[BY_AA + i] = ssim * scale * b1
        s[BY_AB + i] = -TWO * a1 * scale


@kernel
@no_type_check
def products(a, b, y, stride, ring):
    """Into the ring, what is blurred of row y: sum and difference of both pictures and their squares."""
    height, length = a.shape
    o0 = np.uintp(y % TAPS * PLANES * stride)
    o1, o2, o3 = o0 + np.uintp(stride), o0 + np.uintp(2 * stride), o0 + np.uintp(3 * stride)
    if y < 0 or y >= height:
        ring[o0 : o3 + np.uintp(stride)] = f32(0)
        return
    u, v = a[y], b[y]
    for i in range(np.uintp(length)):
        total, apart = u[i] + v[i], u[i] - v[i]
        ring[o0 + i], ring[o1 + i] = total, apart
        ring[o2 + i], ring[o3 + i] = total * total, apart * apart


@kernel
@no_type_check
def weighted(slopes, v_out, v_all, y, stride, ring):
    """Into the ring, the slopes of row y times what comes back: each number's own, or one for all."""
    height, length = slopes.shape[1:]
    for q in range(3):
        o = np.uintp((y % TAPS * PLANES + q) * stride)
        if y < 0 or y >= height:
            ring[o : o + np.uintp(stride)] = f32(0)
        elif len(v_out) > 0:
            u, v = slopes[q, y], v_out[y]
            for i in range(np.uintp(length)):
                ring[o + i] = u[i] * v[i]
        else:
            u = slopes[q, y]
            for i in range(np.uintp(length)):
                ring[o + i] = u[i] * v_all


@kernel
@no_type_check
def padded(length):
    """Numbers of a row that is padded for the window, and to whole chunks."""
    return (length + CHUNK - 1) // CHUNK * CHUNK + 2 * PAD


@kernel
@no_type_check
def dssim_forward(part, parts, a, b, out, slopes):
    """a, b (H 3W) to 1 - SSIM (H 3W) and its slopes (3 H 3W)."""
    height, length = a.shape
    stride = padded(length)
    ring, line = np.zeros(TAPS * PLANES * stride, f32), np.zeros(PLANES * stride, f32)
    s = np.zeros(8 * CHUNK, f32)
    for strip in range(part, (height + STRIP - 1) // STRIP, parts):
        for y in range(strip * STRIP - RADIUS, min((strip + 1) * STRIP, height) + RADIUS):
            products(a, b, y, stride, ring)
            row = y - RADIUS
            if row < strip * STRIP:
                continue
            column_sums(ring, y % TAPS, PLANES, stride, line)
            for start in range(0, length, CHUNK):
                for q in range(PLANES):
                    row_sums(line, q * stride + start, s, q * CHUNK)
                similarity(s)
                stop, count = min(start + CHUNK, length), np.uintp(min(CHUNK, length - start))
                out[row, start:stop] = s[LOSS : LOSS + count]
                slopes[0, row, start:stop] = s[BY_A : BY_A + count]
                slopes[1, row, start:stop] = s[BY_AA : BY_AA + count]
                slopes[2, row, start:stop] = s[BY_AB : BY_AB + count]


@kernel
@no_type_check
def dssim_backward(part, parts, a, b, slopes, v_out, v_all, v_a):
    """The window is its own adjoint: slopes times what comes back, blurred, then through a, a^2 and ab."""
    height, length = a.shape
    stride = padded(length)
    ring, line = np.zeros(TAPS * PLANES * stride, f32), np.zeros(PLANES * stride, f32)
    s = np.zeros(8 * CHUNK, f32)
    for strip in range(part, (height + STRIP - 1) // STRIP, parts):
        for y in range(strip * STRIP - RADIUS, min((strip + 1) * STRIP, height) + RADIUS):
            weighted(slopes, v_out, v_all, y, stride, ring)
            row = y - RADIUS
            if row < strip * STRIP:
                continue
            column_sums(ring, y % TAPS, 3, stride, line)
            for start in range(0, length, CHUNK):
                for q in range(3):
                    row_sums(line, q * stride + start, s, q * CHUNK)
                u, v, w = a[row, start:], b[row, start:], v_a[row, start:]
                for i in range(np.uintp(min(CHUNK, length - start))):
                    w[i] = s[S0 + i] + TWO * u[i] * s[S1 + i] + v[i] * s[S2 + i]


@kernel
@no_type_check
def l1_forward(part, parts, a, b, out):
    for row in range(part, len(a), parts):
        u, v, w = a[row], b[row], out[row]
        for i in range(np.uintp(len(u))):
            w[i] = abs(u[i] - v[i])


@kernel
@no_type_check
def l1_backward(part, parts, a, b, v_out, v_all, v_a):
    for row in range(part, len(a), parts):
        u, v, w = a[row], b[row], v_a[row]
        for i in range(np.uintp(len(u))):
            back = v_out[row, i] if len(v_out) > 0 else v_all
            w[i] = back if u[i] > v[i] else -back if u[i] < v[i] else f32(0)


@kernel
@no_type_check
def normal_forward(part, parts, a, b, out):
    for row in range(part, len(out), parts):
        u, v, w = a[row], b[row], out[row]
        for i in range(len(w)):
            w[i] = ONE - u[3 * i] * v[3 * i] - u[3 * i + 1] * v[3 * i + 1] - u[3 * i + 2] * v[3 * i + 2]


@kernel
@no_type_check
def normal_backward(part, parts, a, b, v_out, v_all, v_a, v_b):
    for row in range(part, len(a), parts):
        for i in range(a.shape[1]):
            back = v_out[row, i // 3] if len(v_out) > 0 else v_all
            v_a[row, i], v_b[row, i] = -back * b[row, i], -back * a[row, i]


def _rows(pictures: Tensor) -> ndarray:
    """All rows of B pictures (B H W C) or maps (B H W), one below the other."""
    values = pictures.detach().contiguous().numpy()
    return values.reshape(values.shape[0] * values.shape[1], -1)


def _back(v_out: Tensor) -> tuple[ndarray, np.float32]:
    """What comes back by rows; of a mean, where it is the same for all, no rows and the one number."""
    if v_out.numel() > 0 and not any(v_out.stride()):
        return np.empty((0, 0), f32), f32(v_out.flatten()[0])
    return _rows(v_out), f32(0)


class Dssim(torch.autograd.Function):
    """Pictures (B H W 3) to 1 - SSIM; gradient to the first only."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        out, height = torch.empty(a.shape), a.shape[1]
        slopes = np.empty((len(a), 3, *_rows(a[:1]).shape), f32)
        for i, rows in enumerate(_pictures(height, _rows(a), _rows(b), _rows(out))):
            spread(dssim_forward, *rows, slopes[i])
        ctx.kept = a.detach(), b.detach(), slopes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_out: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        a, b, slopes = ctx.kept
        v_a, (each, v_all), height = torch.empty(a.shape), _back(v_out), a.shape[1]
        for i, (u, v, w) in enumerate(_pictures(height, _rows(a), _rows(b), _rows(v_a))):
            spread(dssim_backward, u, v, slopes[i], each[i * height : (i + 1) * height], v_all, w)
        return v_a, None


def _pictures(height: int, *rows: ndarray) -> list[tuple[ndarray, ...]]:
    """The rows of each picture: the window reaches across none of their edges."""
    return [tuple(r[i : i + height] for r in rows) for i in range(0, len(rows[0]), height)]


class L1(torch.autograd.Function):
    """Pictures to the absolute difference; gradient to the first only."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        out = torch.empty(a.shape)
        spread(l1_forward, _rows(a), _rows(b), _rows(out))
        ctx.kept = a.detach(), b.detach()
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_out: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        a, b = ctx.kept
        v_a = torch.empty(a.shape)
        spread(l1_backward, _rows(a), _rows(b), *_back(v_out), _rows(v_a))
        return v_a, None


class NormalConsistency(torch.autograd.Function):
    """Pictures of normals (B H W 3) to 1 - their product (B H W)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        out = torch.empty(a.shape[:-1])
        spread(normal_forward, _rows(a), _rows(b), _rows(out))
        ctx.kept = a.detach(), b.detach()
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_out: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, b = ctx.kept
        v_a, v_b = torch.empty(a.shape), torch.empty(b.shape)
        spread(normal_backward, _rows(a), _rows(b), *_back(v_out), _rows(v_a), _rows(v_b))
        return v_a, v_b


def compiled(*pictures: Float[Tensor, "*b H W C"]) -> bool:
    """Whether pictures are what this file computes with."""
    return all(x.device.type == "cpu" and x.dtype == torch.float32 for x in pictures)
