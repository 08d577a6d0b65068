"""Painting textures by position: the place of each texel on the body, noise in space, soft shapes, bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.ndimage import distance_transform_edt

from talkingavatar.data.speaker import raster

# ruff: noqa: ANN001, ANN202 - compiled functions take their types from the call

Points = Float[np.ndarray, "*shape 3"]
Values = Float[np.ndarray, "*shape"]


@dataclass(frozen=True)
class TexelMap:
    """The place of every texel on the surface; one outside of all faces has that of the nearest inside."""

    position: Float[np.ndarray, "h w 3"]  # metres, T-pose
    normal: Float[np.ndarray, "h w 3"]


def texel_map(
    size: int,
    uvs: Float[np.ndarray, "F 3 2"],
    faces: Int[np.ndarray, "F 3"],
    vertices: Float[np.ndarray, "V 3"],
    normals: Float[np.ndarray, "V 3"],
) -> TexelMap:
    """Draw the faces at their texture coordinates (v runs down) into a square of `size` texels."""
    corners = np.ones((len(faces) * 3, 3), np.float32)
    corners[:, :2] = uvs.reshape(-1, 2) * size
    local = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    surface, atlas = raster.untextured(local, two_sided=True)
    ids, _ = raster.visible(corners, surface, atlas, size, size)
    y, x = np.nonzero(ids >= 0)
    found = ids[y, x]
    a, b, c = (corners[local[found, k], :2] for k in range(3))
    p = np.stack([x + 0.5, y + 0.5], -1).astype(np.float32)
    weights = np.stack([_cross(b - p, c - p), _cross(c - p, a - p), _cross(a - p, b - p)], -1)
    weights /= _cross(b - a, c - a)[:, None]
    nearest = distance_transform_edt(ids < 0, return_distances=False, return_indices=True)
    number = np.zeros((size, size), np.int64)
    number[y, x] = np.arange(len(y))
    number = number[nearest[0], nearest[1]]

    def spread(values: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "h w 3"]:
        at = values.astype(np.float32)[faces[found]]
        return sum(weights[:, k, None] * at[:, k] for k in range(3))[number]

    return TexelMap(spread(vertices), spread(normals))


def _cross(a: Float[np.ndarray, "*s 2"], b: Float[np.ndarray, "*s 2"]) -> Float[np.ndarray, "*s"]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


@raster.kernel
@no_type_check
def _lattice(x, y, z, seed):
    """A hash of a lattice point, 0 to 1."""
    h = np.uint32(x * 374761393 + y * 668265263 + z * 2147483647 + seed * 1274126177)
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(1274126177))
    h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(2246822519))
    return np.float64(h ^ (h >> np.uint32(16))) / 4294967295.0


@raster.kernel
@no_type_check
def _noise(points, seed):
    out = np.empty(len(points), np.float32)
    for i in range(len(points)):
        x0, y0, z0 = np.floor(points[i, 0]), np.floor(points[i, 1]), np.floor(points[i, 2])
        fx, fy, fz = points[i, 0] - x0, points[i, 1] - y0, points[i, 2] - z0
        fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
        total = 0.0
        for k in range(8):
            dx, dy, dz = k & 1, (k >> 1) & 1, k >> 2
            w = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * (fz if dz else 1 - fz)
            total += w * _lattice(np.int64(x0) + dx, np.int64(y0) + dy, np.int64(z0) + dz, seed)
        out[i] = 2 * total - 1
    return out


def noise(points: Points, wavelength: float | tuple[float, float, float], seed: int) -> Values:
    """Smooth value noise in space, -1 to 1; a wavelength per axis stretches it."""
    scaled = (points / np.asarray(wavelength, np.float32)).astype(np.float32)
    return _noise(np.ascontiguousarray(scaled.reshape(-1, 3)), seed).reshape(points.shape[:-1])


def fractal(points: Points, wavelength: float, octaves: int, seed: int) -> Values:
    """Noise summed over octaves, each at half of the last one's wavelength and amplitude; about -1 to 1."""
    total = np.zeros(points.shape[:-1], np.float32)
    for octave in range(octaves):
        total += 0.5**octave * noise(points, wavelength / 2**octave, seed + 101 * octave)
    return total


def ramp(
    low: float | Float[np.ndarray, "*s"], high: float | Float[np.ndarray, "*s"], x: Float[np.ndarray, "*s"]
) -> Float[np.ndarray, "*s"]:
    """0 at `low`, 1 at `high`, smooth between; `low` may be the larger."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Float[np.ndarray, "*s"], middle: float, width: float) -> Float[np.ndarray, "*s"]:
    """A bell of height 1."""
    return np.exp(-(((x - middle) / width) ** 2))


def ball(
    points: Float[np.ndarray, "*s 3"],
    centre: Float[np.ndarray, "3"],
    radius: float | tuple[float, float, float],
) -> Float[np.ndarray, "*s"]:
    """A bell in space of height 1 around a centre, with a radius per axis if given."""
    scaled = (points - np.asarray(centre, points.dtype)) / np.asarray(radius, points.dtype)
    return np.exp(-np.einsum("...c,...c", scaled, scaled))


def mirrored(points: Float[np.ndarray, "*s 3"]) -> Float[np.ndarray, "*s 3"]:
    """The points folded onto the person's left half."""
    out = points.copy()
    out[..., 0] = np.abs(out[..., 0])
    return out


def mix(
    below: Float[np.ndarray, "*s 3"],
    colour: Float[np.ndarray, "*t 3"] | tuple[float, float, float],
    share: Float[np.ndarray, "*s"] | float,
) -> Float[np.ndarray, "*s 3"]:
    """A layer of colour over another; `share` 0 leaves the lower one."""
    share = np.asarray(share, np.float32)[..., None]
    below = below.astype(np.float32, copy=False)
    return below + share * (np.asarray(colour, np.float32) - below)


def to_bytes(
    rgb: Float[np.ndarray, "h w 3"], coverage: Float[np.ndarray, "h w"] | None = None
) -> UInt8[np.ndarray, "h w 4"]:
    """A texture from display values in [0, 1]."""
    alpha = np.ones(rgb.shape[:2]) if coverage is None else coverage
    out = np.concatenate([rgb, alpha[..., None]], -1)
    return (np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8)
