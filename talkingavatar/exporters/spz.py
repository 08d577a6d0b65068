"""Niantic's .spz, version 3: quantised columns under gzip (nianticlabs/spz, README and load-spz.cc, MIT).

Version 4 has zstandard inside, which the standard library has not; whoever reads 4 reads 3. Its axes are ours.
"""

from __future__ import annotations

import gzip
import math
import struct

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.geometry.spherical_harmonics import sh_degree
from talkingavatar.types import Gaussians

MAGIC, VERSION = 0x5053474E, 3
FRACTION = 20  # bits of a place after the point: a micrometre, up to 8 m from the origin
COLOUR = 0.15  # of a constant coefficient, in what a byte spans
STEP = (8, 16, 16)  # of the bytes of harmonics, by degree
COMPONENT = 9  # bits of a quaternion's number, beside its sign


def spz(gaussians: Gaussians) -> bytes:
    """The file of N settled Gaussians."""
    count, degree = len(gaussians), sh_degree(gaussians.sh.shape[1])
    blocks = [
        _places(gaussians.means),
        _bytes(255 * gaussians.opacities),
        _bytes(255 * (COLOUR * gaussians.sh[:, 0] + 0.5)),
        _bytes(16 * (gaussians.scales.log() + 10)),
        _turns(gaussians.quats),
        _harmonics(gaussians.sh[:, 1:], degree),
    ]
    header = struct.pack("<IIIBBBB", MAGIC, VERSION, count, degree, FRACTION, 0, 0)
    return gzip.compress(header + b"".join(block.tobytes() for block in blocks), mtime=0)


def _bytes(values: Float[Tensor, "..."]) -> UInt8[ndarray, "..."]:
    return values.round().clamp(0, 255).byte().numpy()


def _places(means: Float[Tensor, "N 3"]) -> UInt8[ndarray, "N 9"]:
    """24 bits each, with a sign."""
    limit = 2**23 - 1
    fixed = (means.double() * 2**FRACTION).round().clamp(-limit, limit).numpy().astype("<i4")
    return np.ascontiguousarray(fixed.view("u1").reshape(len(means), 3, 4)[:, :, :3]).reshape(len(means), 9)


def _turns(quats: Float[Tensor, "N 4"]) -> ndarray:
    """The three smaller numbers of (x, y, z, w), 10 bits each, and which is the largest."""
    xyzw = torch.cat([quats[:, 1:], quats[:, :1]], 1)
    largest = xyzw.abs().argmax(1)
    sign = xyzw.gather(1, largest[:, None]).sign()
    whole = (xyzw * sign).numpy().astype(np.float64)
    packed, left = largest.numpy().astype(np.uint32), largest.numpy()
    for axis in range(4):
        value = whole[:, axis]
        told = np.rint(np.abs(value) * math.sqrt(2) * (2**COMPONENT - 1)).clip(0, 2**COMPONENT - 1).astype(np.uint32)
        word = (packed << np.uint32(10)) | ((value < 0).astype(np.uint32) << np.uint32(COMPONENT)) | told
        packed = np.where(left == axis, packed, word)
    return packed.astype("<u4")


def _harmonics(rest: Float[Tensor, "N K 3"], degree: int) -> UInt8[ndarray, "N K 3"]:
    if degree == 0:
        return np.zeros((len(rest), 0, 3), np.uint8)
    step = torch.cat([torch.full((2 * band + 1, 1), float(STEP[band - 1])) for band in range(1, degree + 1)])
    return _bytes((128 * rest / step).round() * step + 128)
