"""How much ambient light reaches each vertex of a figure at rest."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float

from talkingavatar.data.speaker import raster
from talkingavatar.data.speaker.renderer import Renderer

_DIRECTIONS = 40
_MAP = 384  # samples along an edge


def ambient(renderer: Renderer, rest: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, " V"]:
    """Share of the sky that each vertex sees, weighted by the cosine to its normal; 1 for a convex body.

    Depth images from directions spread over the sphere (Fibonacci), one test per vertex and direction.
    """
    vertices = rest.astype(np.float32)
    normals = raster.vertex_normals(vertices, renderer.mesh.faces, renderer.first, renderer.incident)
    seen, total = np.zeros(len(rest)), np.zeros(len(rest))
    k = np.arange(_DIRECTIONS) + 0.5
    height, turn = 1 - 2 * k / _DIRECTIONS, np.pi * (1 + 5**0.5) * k
    radius = np.sqrt(1 - height**2)
    for towards in np.stack([radius * np.cos(turn), height, radius * np.sin(turn)], -1):
        shadow = renderer.shadow(vertices, towards, _MAP)
        _gather(vertices, normals, towards, shadow.nearness, shadow.to_light, shadow.bias, seen, total)
    return np.clip(seen / np.maximum(total, 1e-6) * 1.12, 0, 1).astype(np.float32)


@raster.kernel
@no_type_check
def _gather(vertices, normals, towards, nearness, view, bias, seen, total):  # noqa: ANN001, ANN202
    """Add one direction's light to `seen` and its cosine to `total`."""
    size = nearness.shape[0]
    for v in range(len(vertices)):
        cosine = normals[v, 0] * towards[0] + normals[v, 1] * towards[1] + normals[v, 2] * towards[2]
        if cosine <= 0.02:
            continue
        p = vertices[v] + np.float32(0.004) * normals[v]
        x = int(view[0, 0] * p[0] + view[0, 1] * p[1] + view[0, 2] * p[2] + view[0, 3])
        y = int(view[1, 0] * p[0] + view[1, 1] * p[1] + view[1, 2] * p[2] + view[1, 3])
        near = view[2, 0] * p[0] + view[2, 1] * p[1] + view[2, 2] * p[2] + view[2, 3] + bias
        total[v] += cosine
        if x < 0 or y < 0 or x >= size or y >= size or nearness[y, x] <= near:
            seen[v] += cosine
