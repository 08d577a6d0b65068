"""Deferred shading of visible samples, compiled; colours are linear light inside and sRGB at both ends.

The model is chosen for a person in a studio: wrapped diffuse with one width per colour channel (light
bleeds further into skin in the red; after Green, "Real-time approximations to subsurface scattering", GPU
Gems 1, ch. 16), Blinn's specular, Kajiya and Kay's strand specular for hair, a key light with a filtered
shadow map.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - compiled functions take their types from the call

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np

from talkingavatar.data.speaker.raster import LEVELS, kernel

# Columns of the material table.
WRAP, SPECULAR, GLOSS, STRAND, OVERLAY, FINE, MATERIAL_COLUMNS = 0, 3, 4, 5, 6, 7, 8
# Rows of the light table, (direction towards the light, colour).
KEY, FILL, RIM, SKY, GROUND = 0, 1, 2, 3, 4
BEHIND = np.float32(0.35)  # share of the key light that reaches round a thing that stands in its way
ENCODE = 4096  # entries of the table from linear light to display


class Moving(NamedTuple):
    """What changes from frame to frame."""

    world: np.ndarray  # (V, 3) float32, metres
    screen: np.ndarray  # (V, 3) float32, samples and nearness
    normals: np.ndarray  # (V, 3) float32
    shade: np.ndarray  # (V,) float32, how much ambient light arrives, 0 to 1
    overlay: np.ndarray  # (C,) float32, weights of the overlay's channels
    eye: np.ndarray  # (3,) the camera's centre


class Look(NamedTuple):
    """Materials and light."""

    materials: np.ndarray  # (M, MATERIAL_COLUMNS) float32
    lights: np.ndarray  # (5, 2, 3) float32
    overlay: np.ndarray  # (H, W, C) int8, relief drawn over materials whose OVERLAY is set
    decode: np.ndarray  # (256,) float32, sRGB byte to linear
    encode: np.ndarray  # (ENCODE,) float32, square root of linear / 2 to display byte


class Shadow(NamedTuple):
    """The key light's depth image; `to_light` maps world points to its samples and nearness."""

    nearness: np.ndarray  # (S, S) float32
    to_light: np.ndarray  # (3, 4) float64
    bias: float
    fade: float  # light regained per unit of nearness between a point and what shades it: the lamp is broad
    softest: float  # at most


@kernel
@no_type_check
def _bilinear(atlas, decode, start, w, h, u, v):
    """Linear colour of one mipmap level; coordinates clamp at the border."""
    x, y = u * w - 0.5, v * h - 0.5
    x, y = min(max(x, 0.0), w - 1.0), min(max(y, 0.0), h - 1.0)
    x0, y0 = int(x), int(y)
    fx, fy = x - x0, y - y0
    i = start + y0 * w + x0
    right = 1 if x0 < w - 1 else 0
    down = w if y0 < h - 1 else 0
    a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    t = atlas.texels
    j, k, m = i + right, i + down, i + right + down
    red = a * decode[t[i, 0]] + b * decode[t[j, 0]] + c * decode[t[k, 0]] + d * decode[t[m, 0]]
    green = a * decode[t[i, 1]] + b * decode[t[j, 1]] + c * decode[t[k, 1]] + d * decode[t[m, 1]]
    blue = a * decode[t[i, 2]] + b * decode[t[j, 2]] + c * decode[t[k, 2]] + d * decode[t[m, 2]]
    return red, green, blue


@kernel
@no_type_check
def texture(atlas, decode, material, u, v, level):
    """Trilinear linear-light colour at (u, v) and a fractional mipmap level."""
    level = min(max(level, 0.0), LEVELS - 1.0)
    low = int(level)
    t = level - low
    s, w, h = atlas.levels[material, low]
    r, g, b = _bilinear(atlas, decode, s, w, h, u, v)
    if t > 0.02:
        s, w, h = atlas.levels[material, low + 1]
        r1, g1, b1 = _bilinear(atlas, decode, s, w, h, u, v)
        r, g, b = r + t * (r1 - r), g + t * (g1 - g), b + t * (b1 - b)
    return r, g, b


@kernel
@no_type_check
def _relief(overlay, weights, u, v):
    """Weighted sum of the overlay's channels at (u, v), bilinear; about -1 (crease) to 1 (ridge)."""
    h, w, channels = overlay.shape
    x, y = min(max(u * w - 0.5, 0.0), w - 1.001), min(max(v * h - 0.5, 0.0), h - 1.001)
    x0, y0 = int(x), int(y)
    fx, fy = x - x0, y - y0
    total = 0.0
    for c in range(channels):
        if weights[c] != 0:
            top = (1 - fx) * overlay[y0, x0, c] + fx * overlay[y0, x0 + 1, c]
            low = (1 - fx) * overlay[y0 + 1, x0, c] + fx * overlay[y0 + 1, x0 + 1, c]
            total += weights[c] * ((1 - fy) * top + fy * low)
    return total / 127.0


@kernel
@no_type_check
def _lit(shadow, x, y, z):
    """Share of the key light that reaches a point: 3x3 comparisons, smoothed over a sample.

    The light is a large one: a thing in its way takes only a part of it, the less the further it is away.
    """
    m = shadow.to_light
    sx = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3] - 0.5
    sy = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3] - 0.5
    near = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3] + shadow.bias
    size = shadow.nearness.shape[0]
    x0, y0 = int(np.floor(sx)), int(np.floor(sy))
    if x0 < 2 or y0 < 2 or x0 > size - 4 or y0 > size - 4:
        return 1.0
    fx, fy = sx - x0, sy - y0
    total = 0.0
    for j in range(-1, 3):
        wy = (1 - fy) if j == -1 else (fy if j == 2 else 1.0)
        for i in range(-1, 3):
            wx = (1 - fx) if i == -1 else (fx if i == 2 else 1.0)
            depth = shadow.nearness[y0 + j, x0 + i] - near
            if depth <= 0:
                total += wx * wy
            else:
                total += wx * wy * min(shadow.softest, depth * shadow.fade)
    return BEHIND + (1 - BEHIND) * total / 9.0


@kernel
@no_type_check
def _power(x, gloss):
    """x to the power 2^gloss by squaring."""
    x = max(x, 0.0)
    for _ in range(int(gloss)):
        x *= x
    return x


@kernel
@no_type_check
def _corners(face, px, py, surface, screen):
    """Perspective-correct weights of a face's corners; its doubled area, negative from the front."""
    i, j, k = surface.faces[face, 0], surface.faces[face, 1], surface.faces[face, 2]
    ax, ay, az = np.float64(screen[i, 0]), np.float64(screen[i, 1]), np.float64(screen[i, 2])
    bx, by, bz = np.float64(screen[j, 0]), np.float64(screen[j, 1]), np.float64(screen[j, 2])
    cx, cy, cz = np.float64(screen[k, 0]), np.float64(screen[k, 1]), np.float64(screen[k, 2])
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    w0 = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area * az
    w1 = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area * bz
    w2 = ((ax - px) * (by - py) - (ay - py) * (bx - px)) / area * cz
    norm = 1.0 / (w0 + w1 + w2)
    return w0 * norm, w1 * norm, w2 * norm, area


@kernel
@no_type_check
def _strand(face, surface, world, ux, uy, uz):
    """Sine of the angle between a direction and the face's v axis, along which strands are drawn."""
    uv = surface.uvs[face]
    a, b, c = surface.faces[face, 0], surface.faces[face, 1], surface.faces[face, 2]
    du1, du2 = uv[1, 0] - uv[0, 0], uv[2, 0] - uv[0, 0]
    tx = (world[c, 0] - world[a, 0]) * du1 - (world[b, 0] - world[a, 0]) * du2
    ty = (world[c, 1] - world[a, 1]) * du1 - (world[b, 1] - world[a, 1]) * du2
    tz = (world[c, 2] - world[a, 2]) * du1 - (world[b, 2] - world[a, 2]) * du2
    dot = (tx * ux + ty * uy + tz * uz) / np.sqrt(tx * tx + ty * ty + tz * tz + 1e-20)
    return np.sqrt(max(0.0, 1 - dot * dot))


@kernel
@no_type_check
def sample(face, px, py, bias, surface, atlas, moving, look, shadow):
    """Linear colour of one sample of one face; `bias` is added to the mipmap level."""
    w0, w1, w2, area = _corners(face, px, py, surface, moving.screen)
    i, j, k = surface.faces[face, 0], surface.faces[face, 1], surface.faces[face, 2]
    uv = surface.uvs[face]
    m = surface.material[face]
    mat = look.materials[m]
    u = w0 * uv[0, 0] + w1 * uv[1, 0] + w2 * uv[2, 0]
    v = w0 * uv[0, 1] + w1 * uv[1, 1] + w2 * uv[2, 1]
    texels = abs((uv[1, 0] - uv[0, 0]) * (uv[2, 1] - uv[0, 1]) - (uv[1, 1] - uv[0, 1]) * (uv[2, 0] - uv[0, 0]))
    texels *= atlas.levels[m, 0, 1] * atlas.levels[m, 0, 2]
    level = bias + 0.5 * np.log2(max(texels / max(abs(area), 1e-9), 1e-9))
    red, green, blue = texture(atlas, look.decode, m, u, v, level)
    if mat[OVERLAY] > 0:
        relief = min(max(1 + _relief(look.overlay, moving.overlay, u, v), 0.25), 1.35)
        # Creases keep some red, as light that has travelled through skin does.
        red, green, blue = red * (0.25 + 0.75 * relief), green * relief, blue * relief

    world, n = moving.world, moving.normals
    x = w0 * world[i, 0] + w1 * world[j, 0] + w2 * world[k, 0]
    y = w0 * world[i, 1] + w1 * world[j, 1] + w2 * world[k, 1]
    z = w0 * world[i, 2] + w1 * world[j, 2] + w2 * world[k, 2]
    nx = w0 * n[i, 0] + w1 * n[j, 0] + w2 * n[k, 0]
    ny = w0 * n[i, 1] + w1 * n[j, 1] + w2 * n[k, 1]
    nz = w0 * n[i, 2] + w1 * n[j, 2] + w2 * n[k, 2]
    vx, vy, vz = moving.eye[0] - x, moving.eye[1] - y, moving.eye[2] - z
    scale = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * scale, vy * scale, vz * scale
    scale = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
    if area > 0:  # seen from behind
        scale = -scale
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    shade = w0 * moving.shade[i] + w1 * moving.shade[j] + w2 * moving.shade[k]
    offset = 0.003
    lit = _lit(shadow, x + offset * nx, y + offset * ny, z + offset * nz)

    light = look.lights
    up = 0.5 + 0.5 * ny
    dr = shade * (light[SKY, 1, 0] * up + light[GROUND, 1, 0] * (1 - up))
    dg = shade * (light[SKY, 1, 1] * up + light[GROUND, 1, 1] * (1 - up))
    db = shade * (light[SKY, 1, 2] * up + light[GROUND, 1, 2] * (1 - up))
    spec = 0.0
    for s in range(3):
        lx, ly, lz = light[s, 0, 0], light[s, 0, 1], light[s, 0, 2]
        nl = nx * lx + ny * ly + nz * lz
        reach = lit * (0.35 + 0.65 * shade) if s == KEY else shade
        # The red light that wraps furthest also creeps into the shadow's edge.
        dr += light[s, 1, 0] * max(0.0, (nl + mat[WRAP]) / (1 + mat[WRAP])) * (reach + mat[WRAP] * reach * (1 - reach))
        dg += light[s, 1, 1] * max(0.0, (nl + mat[WRAP + 1]) / (1 + mat[WRAP + 1])) * reach
        db += light[s, 1, 2] * max(0.0, (nl + mat[WRAP + 2]) / (1 + mat[WRAP + 2])) * reach
        if mat[SPECULAR] > 0 and nl > -0.2:
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            scale = 1.0 / np.sqrt(hx * hx + hy * hy + hz * hz)
            hx, hy, hz = hx * scale, hy * scale, hz * scale
            if mat[STRAND] > 0:
                shine = _power(_strand(face, surface, world, hx, hy, hz), mat[GLOSS]) * min(1.0, nl + 0.2)
            else:
                shine = _power(nx * hx + ny * hy + nz * hz, mat[GLOSS])
            spec += shine * reach * light[s, 1, 1]
    spec *= mat[SPECULAR]
    if mat[STRAND] > 0:  # the highlight of hair is tinted by it
        return (
            red * dr + spec * (red + 0.04),
            green * dg + spec * (green + 0.04),
            blue * db + spec * (blue + 0.04),
        )
    return red * dr + spec, green * dg + spec, blue * db + spec


@kernel
@no_type_check
def _display(encode, linear):
    """Display value of linear light."""
    return encode[min(ENCODE - 1, int(np.sqrt(max(linear, 0.0) * 0.5) * ENCODE))]


@kernel
@no_type_check
def shade(ids, nearness, over, surface, atlas, moving, look, shadow, background):
    """Pixels (H, W, 3) uint8 on a background and their coverage (H, W) uint8, `over`^2 samples each."""
    height, width = ids.shape[0] // over, ids.shape[1] // over
    rgb = np.empty((height, width, 3), np.uint8)
    matte = np.empty((height, width), np.uint8)
    count = over * over
    for y in range(height):
        for x in range(width):
            total_r = total_g = total_b = r = g = b = 0.0
            hit, last, near = 0, -1, np.float32(0)
            for s in range(count):
                sx, sy = x * over + s % over, y * over + s // over
                face = ids[sy, sx]
                if face < 0:
                    continue
                # A sample takes the last one's colour if both lie on one surface: in fine materials along its
                # row, in coarse ones anywhere in the pixel.
                m = surface.material[face]
                fine = look.materials[m, FINE] > 0
                alike = m == last and abs(nearness[sy, sx] - near) < 0.004 * near
                if not alike or (fine and s % over == 0):
                    bias = 0.5 if fine else 1.0
                    r, g, b = sample(face, sx + 0.5, sy + 0.5, bias, surface, atlas, moving, look, shadow)
                    r, g, b = _display(look.encode, r), _display(look.encode, g), _display(look.encode, b)
                    last, near = m, nearness[sy, sx]
                total_r, total_g, total_b = total_r + r, total_g + g, total_b + b
                hit += 1
            empty = count - hit
            rgb[y, x, 0] = int((total_r + empty * background[0]) / count + 0.5)
            rgb[y, x, 1] = int((total_g + empty * background[1]) / count + 0.5)
            rgb[y, x, 2] = int((total_b + empty * background[2]) / count + 0.5)
            matte[y, x] = int(255.0 * hit / count + 0.5)
    return rgb, matte
