"""Hair as geometry: ribbons with drawn strands for long hair, stacked shells for cropped hair and beards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial import cKDTree

from talkingavatar.data.speaker import face as regions
from talkingavatar.data.speaker.face import Face
from talkingavatar.data.speaker.identity import Hair, Identity
from talkingavatar.data.speaker.texture import TexelMap, fractal, mirrored, mix, noise, ramp, to_bytes

STEPS = 11  # segments along a ribbon
SHELLS = 6
_RIBBONS = {"bob": 420, "long": 560}
_DROP = {"bob": 0.0, "long": 0.13}  # how far below the chin the tips hang, metres


@dataclass(frozen=True)
class Scalp:
    """The head the hair grows on, as shaped for one person."""

    vertices: Float[np.ndarray, "V 3"]  # shaped
    canonical: Float[np.ndarray, "V 3"]  # the same vertices on the template
    normals: Float[np.ndarray, "V 3"]  # shaped
    faces: Int[np.ndarray, "F 3"]  # of the head


@dataclass(frozen=True)
class Ribbons:
    """Strips of hair; each moves with the scalp vertex it grows from."""

    vertices: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "m 3"]
    uvs: Float[np.ndarray, "m 3 2"]  # v runs from root to tip
    source: Int[np.ndarray, " n"]


@dataclass(frozen=True)
class _Skull:
    """An ellipsoid about the cranium, which hair lies on."""

    centre: Float[np.ndarray, "3"]
    radii: Float[np.ndarray, "3"]
    ear: Float[np.ndarray, "3"]
    brow: float
    chin: float
    directions: cKDTree  # of the head's vertices from the centre, in units of the ellipsoid
    distances: Float[np.ndarray, " h"]

    def outward(self, p: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        n = (p - self.centre) / self.radii**2
        return n / np.linalg.norm(n, axis=-1, keepdims=True)

    def reach(self, d: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """How far the real head reaches in these directions, in units of the ellipsoid."""
        away, near = self.directions.query(d, k=4)
        weight = 1 / (away + 0.02) ** 2
        return (weight * self.distances[near]).sum(-1) / weight.sum(-1)

    def settle(self, p: Float[np.ndarray, "n 3"], lift: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
        """Points brought to between `lift` and half as much again above the head.

        Below its equator the skull goes on as a column that narrows towards the neck.
        """
        d = (p - self.centre) / self.radii
        below = np.maximum(0, -d[:, 1])
        d[:, 1] = np.maximum(d[:, 1], 0)
        away = np.maximum(np.linalg.norm(d, axis=-1), 1e-6)
        least = self.reach(d / away[:, None]) + lift / self.radii[0] - 0.10 * np.minimum(below, 1.2)
        wanted = np.clip(away, least, least + 0.5 * np.maximum(lift, 0) / self.radii[0])
        return p + ((wanted / away - 1)[:, None] * d) * self.radii


def _skull(scalp: Scalp, face: Face) -> _Skull:
    ids = np.unique(scalp.faces)
    grown = ids[regions.scalp(face, mirrored(scalp.canonical[ids])) > 0.5]
    p = scalp.vertices[grown]

    def near(point: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
        return scalp.vertices[ids[np.argmin(((scalp.canonical[ids] - point) ** 2).sum(-1))]]

    ear, brow, chin = near(face["ear"]), near(face["brow_middle"]), near(face["chin"])
    top, back, front = p[:, 1].max(), p[:, 2].min(), near(face.at("bridge", y=0.06))[2]
    centre = np.array([0.0, brow[1] + 0.008, 0.5 * (back + front)])
    radii = np.array([np.abs(p[:, 0]).max(), top - centre[1], 0.5 * (front - back)])
    bare = ids[regions.ear(face, mirrored(scalp.canonical[ids])) < 0.15]
    d = (scalp.vertices[bare] - centre) / radii
    d = d[d[:, 1] > -0.25]
    distances = np.linalg.norm(d, axis=-1)
    tree = cKDTree(d / distances[:, None])
    return _Skull(centre, radii, ear, float(brow[1]), float(chin[1]), tree, distances)


def _roots(
    scalp: Scalp, face: Face, count: int, random: np.random.Generator
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """Points spread evenly over the hairy part of the head, and a vertex near each."""
    f = scalp.faces
    a, b, c = (scalp.vertices[f[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
    middle = scalp.canonical[f].mean(1)
    area = area * (regions.scalp(face, mirrored(middle)) > 0.5)
    cumulative = np.cumsum(area) / area.sum()
    chosen = np.searchsorted(cumulative, (np.arange(count) + random.random(count)) / count)
    w = random.dirichlet([1, 1, 1], count)
    return np.einsum("nk,nkc->nc", w, scalp.vertices[f[chosen]]), f[chosen, 0].astype(np.int64)


def grow_ribbons(scalp: Scalp, face: Face, who: Identity) -> Ribbons:
    """Hair combed from a side parting, falling past the ears to the chin (bob) or the shoulders (long)."""
    random = np.random.default_rng(who.seed)
    skull = _skull(scalp, face)
    count = _RIBBONS[who.hair.style]
    p, source = _roots(scalp, face, count, random)
    shuffled = random.permutation(count)
    p, source = p[shuffled], source[shuffled]
    layer = np.sort(random.random(count))[::-1]  # the outermost first, so that few samples are drawn twice
    end = skull.chin + 0.012 - _DROP[who.hair.style] + 0.016 * random.standard_normal(count)
    length = 1.08 * np.maximum(p[:, 1] - end, 0.03) + 0.035 * ramp(0.0, 0.05, p[:, 1] - skull.brow)
    step = length / STEPS
    parting = -0.020 * who.crooked
    side = np.where(p[:, 0] > parting, 1.0, -1.0)
    heading = np.stack([side, 0.1 + 0 * side, -0.35 - 0.6 * ramp(0.03, -0.04, p[:, 2] - skull.ear[2])], -1)
    lift = 0.004 + 0.014 * layer
    rows = [skull.settle(p, np.full(count, -0.002))]
    for k in range(STEPS):
        t = np.full(count, (k + 1) / STEPS)
        front = ramp(0.015, 0.055, p[:, 2] - skull.ear[2])
        high = ramp(skull.brow - 0.01, skull.brow + 0.045, p[:, 1])
        # Over the forehead hair is combed to the side; beside the face it hangs, held back from the cheeks.
        wish = np.stack(
            [side * 0.9 * front * high, 0.55 * front * high - 1, -0.25 * high - 0.7 * front * (1 - high)], -1
        )
        wish += 0.12 * random.standard_normal((count, 3)) * [1, 0.3, 1]
        out = skull.outward(p)
        above = (p[:, 1] > skull.centre[1])[:, None]
        wish -= np.where(above, (wish * out).sum(-1, keepdims=True) * out, 0)
        heading = 0.5 * heading + 0.5 * wish
        heading /= np.linalg.norm(heading, axis=-1, keepdims=True)
        p = skull.settle(p + step[:, None] * heading, lift * ramp(0.0, 0.45, t) * (1 + 0.35 * ramp(0.4, 0.8, t)))
        cheek = (1 - high) * np.maximum(0, p[:, 2] - skull.ear[2] - 0.028)
        p[:, 2] -= 0.8 * cheek
        rows.append(p)
    return _weave(np.stack(rows, 1), skull, source, random)


def _weave(
    lines: Float[np.ndarray, "n s 3"],
    skull: _Skull,
    source: Int[np.ndarray, " n"],
    random: np.random.Generator,
) -> Ribbons:
    """Ribbons along centre lines, lying flat on the head, each showing one of four drawings."""
    count, steps = lines.shape[:2]
    along = np.gradient(lines, axis=1)
    out = skull.outward((lines * [1, 0.6, 1] + [0, 0.4 * skull.centre[1], 0]).reshape(-1, 3)).reshape(lines.shape)
    across = np.cross(along, out)
    across /= np.linalg.norm(across, axis=-1, keepdims=True) + 1e-9
    t = np.linspace(0, 1, steps)
    half = np.interp(t, [0, 0.2, 0.8, 1], [0.005, 0.0125, 0.0115, 0.006]) * random.uniform(0.8, 1.2, (count, 1))
    tilt = 0.0035 * random.standard_normal((count, 1, 1)) * out
    left, right = lines - half[..., None] * across + tilt, lines + half[..., None] * across - tilt
    vertices = np.stack([left, right], 2).reshape(-1, 3)
    base = (np.arange(count)[:, None] * steps + np.arange(steps - 1)) * 2
    quad = np.stack([base, base + 1, base + 3, base + 2], -1)
    u0 = random.integers(0, 4, count) / 4
    v = t[None].repeat(count, 0)
    u = np.stack([u0 + 0.005, u0 + 0.245], -1)[:, None].repeat(steps, 1)
    uv = np.stack([u, v[..., None].repeat(2, -1)], -1).reshape(-1, 2)
    faces = np.concatenate([quad[..., [0, 1, 2]], quad[..., [0, 2, 3]]], 1).reshape(-1, 3)
    return Ribbons(
        vertices,
        faces.astype(np.int32),
        uv[faces].astype(np.float32),
        source.repeat(steps * 2).astype(np.int64),
    )


def paint_strands(hair: Hair, seed: int, size: int = 512) -> UInt8[np.ndarray, "_ _ 4"]:
    """Four drawings of strands side by side; v runs from root to tip."""
    y, x = np.mgrid[0:size, 0:size] / size
    wave = 0.004 * np.sin(9 * y + 3 * np.floor(4 * x))
    p = np.stack([x + wave, y, np.floor(4 * x)], -1).astype(np.float32)
    fine = noise(p, (0.004, 0.5, 1), seed + 1)
    broad = noise(p, (0.03, 0.8, 1), seed + 2)
    light = np.clip(0.30 + 0.45 * broad + 0.30 * fine + 0.28 * ramp(0.15, 0.8, y), 0, 1)
    rgb = mix(np.broadcast_to(np.array(hair.colour) * 0.72, (size, size, 3)), hair.light, 0.85 * light)
    rgb = rgb * (0.72 + 0.28 * ramp(0.0, 0.25, y))[..., None]  # little light reaches the roots
    edge = np.abs((4 * x) % 1 - 0.5) * 2
    density = 0.95 - 0.75 * ramp(0.55, 1.0, edge) - 0.85 * ramp(0.72, 1.02, y) - 0.5 * ramp(0.08, 0.0, y)
    cover = ramp(-0.25, 0.25, 0.55 * fine + 0.35 * broad + 1.6 * (density - 0.45))
    return to_bytes(rgb, cover)


def shell_lengths(scalp: Scalp, face: Face, who: Identity) -> Float[np.ndarray, " V"]:
    """How far hair stands off each vertex, metres: a crop longer on top, a beard fuller on the chin."""
    q = mirrored(scalp.canonical)
    beard = (
        regions.beard(face, q)
        * who.hair.beard
        * (0.75 + 0.5 * ramp(0.03, 0.0, q[..., 0]) * ramp(0.01, -0.02, q[..., 1] - face["corner"][1]))
    )
    if who.hair.style != "short":
        return beard
    top = ramp(face["brow_middle"][1] + 0.02, face["brow_middle"][1] + 0.08, q[..., 1])
    return np.maximum(beard, regions.scalp(face, q) * (0.004 + 0.016 * top))


def paint_shell(where: TexelMap, face: Face, who: Identity, layer: int) -> UInt8[np.ndarray, "_ _ 4"]:
    """One shell of cropped hair and beard: tufts that thin out towards the outermost layer."""
    p, q = where.position, mirrored(where.position)
    height = (layer + 1) / SHELLS
    grows = np.maximum(
        regions.beard(face, q) * float(who.hair.beard > 0),
        regions.scalp(face, q) * float(who.hair.style == "short"),
    )
    on_beard = regions.beard(face, q) > regions.scalp(face, q)
    lean = p + (height * 0.004 * np.array([0.0, 1.0, 0.0])).astype(np.float32)  # beard hair hangs
    curls = np.where(on_beard, noise(lean, (0.0016, 0.005, 0.003), who.seed + 5), fractal(p, 0.0042, 2, who.seed + 6))
    cover = ramp(-0.15, 0.15, curls + 1.1 - 1.55 * height) * ramp(0.25, 0.75, grows + 0.25 * curls)
    light = np.clip(0.12 + 0.30 * height + 0.28 * curls, 0, 1)
    rgb = mix(np.broadcast_to(np.array(who.hair.colour) * (0.55 + 0.45 * height), p.shape), who.hair.light, light)
    return to_bytes(rgb, cover)
