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


# Columns of the table of spots, as they are found one after the other.
U, V, LEVEL, SHADE, LIT, X, NX, TX, SPOT_COLUMNS = 0, 1, 2, 3, 4, 5, 8, 11, 14  # X, NX and TX begin vectors


@kernel
@no_type_check
def _bilinear(texels, decode, start, w, h, u, v):
    """Linear colour of one mipmap level; coordinates clamp at the border."""
    x, y = u * w - 0.5, v * h - 0.5
    x, y = min(max(x, 0.0), w - 1.0), min(max(y, 0.0), h - 1.0)
    x0, y0 = int(x), int(y)
    fx, fy = x - x0, y - y0
    i = start + y0 * w + x0
    right = 1 if x0 < w - 1 else 0
    down = w if y0 < h - 1 else 0
    a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    t, j, k, m = texels, i + right, i + down, i + right + down
    red = a * decode[t[i, 0]] + b * decode[t[j, 0]] + c * decode[t[k, 0]] + d * decode[t[m, 0]]
    green = a * decode[t[i, 1]] + b * decode[t[j, 1]] + c * decode[t[k, 1]] + d * decode[t[m, 1]]
    blue = a * decode[t[i, 2]] + b * decode[t[j, 2]] + c * decode[t[k, 2]] + d * decode[t[m, 2]]
    return red, green, blue


@kernel
@no_type_check
def texture(texels, levels, decode, material, u, v, level):
    """Trilinear linear-light colour at (u, v) and a fractional mipmap level."""
    level = min(max(level, 0.0), LEVELS - 1.0)
    low = int(level)
    t = level - low
    start, w, h = levels[material, low, 0], levels[material, low, 1], levels[material, low, 2]
    r, g, b = _bilinear(texels, decode, start, w, h, u, v)
    if t > 0.02:
        start, w, h = levels[material, low + 1, 0], levels[material, low + 1, 1], levels[material, low + 1, 2]
        r1, g1, b1 = _bilinear(texels, decode, start, w, h, u, v)
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
def _list_spots(y, over, ids, nearness, material, materials, faces, at, spot_of):
    """Where a row of pixels is shaded: face and sample of each spot, and the spot of each sample (-1 where empty).

    A sample takes the last one's colour if both lie on one surface: in fine materials along its row, in coarse ones
    anywhere in the pixel.
    """
    count = 0
    for x in range(len(spot_of)):
        last, near = -1, np.float32(0)
        for sy in range(y * over, y * over + over):
            for sx in range(x * over, x * over + over):
                face = ids[sy, sx]
                if face >= 0:
                    m = material[face]
                    alike = m == last and abs(nearness[sy, sx] - near) < 0.004 * near
                    if not alike or (materials[m, FINE] > 0 and sx == x * over):
                        faces[count], at[count, 0], at[count, 1] = face, sx, sy
                        last, near = m, nearness[sy, sx]
                        count += 1
                spot_of[x, (sy - y * over) * over + sx - x * over] = count - 1 if face >= 0 else -1
    return count


@kernel
@no_type_check
def corners(ax, ay, az, bx, by, bz, cx, cy, cz, px, py):
    """Perspective-correct weights of a face's corners; its doubled area, negative from the front."""
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    w0 = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area * az
    w1 = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area * bz
    w2 = ((ax - px) * (by - py) - (ay - py) * (bx - px)) / area * cz
    norm = 1.0 / (w0 + w1 + w2)
    return w0 * norm, w1 * norm, w2 * norm, area


@kernel
@no_type_check
def _place(count, faces, at, surface, levels, materials, world, screen, normals, shade, spots):
    """Of each spot: texture coordinates, mipmap level, ambient light, place, normal towards the camera."""
    triangles, uvs, material = surface.faces, surface.uvs, surface.material
    last, level = -1, 0.0
    for n in range(count):
        face = faces[n]
        i, j, k = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        w0, w1, w2, area = corners(
            np.float64(screen[i, 0]), np.float64(screen[i, 1]), np.float64(screen[i, 2]),
            np.float64(screen[j, 0]), np.float64(screen[j, 1]), np.float64(screen[j, 2]),
            np.float64(screen[k, 0]), np.float64(screen[k, 1]), np.float64(screen[k, 2]),
            at[n, 0] + 0.5, at[n, 1] + 0.5,
        )  # fmt: skip
        u0, u1, u2 = uvs[face, 0, 0], uvs[face, 1, 0], uvs[face, 2, 0]
        v0, v1, v2 = uvs[face, 0, 1], uvs[face, 1, 1], uvs[face, 2, 1]
        m = material[face]
        if face != last:
            texels = abs((u1 - u0) * (v2 - v0) - (v1 - v0) * (u2 - u0)) * (levels[m, 0, 1] * levels[m, 0, 2])
            bias = 0.5 if materials[m, FINE] > 0 else 1.0
            last, level = face, bias + 0.5 * np.log2(max(texels / max(abs(area), 1e-9), 1e-9))
        spots[n, LEVEL] = level
        spots[n, U] = w0 * u0 + w1 * u1 + w2 * u2
        spots[n, V] = w0 * v0 + w1 * v1 + w2 * v2
        spots[n, SHADE] = w0 * shade[i] + w1 * shade[j] + w2 * shade[k]
        for c in range(3):
            spots[n, X + c] = w0 * world[i, c] + w1 * world[j, c] + w2 * world[k, c]
            spots[n, NX + c] = w0 * normals[i, c] + w1 * normals[j, c] + w2 * normals[k, c]
        nx, ny, nz = spots[n, NX], spots[n, NX + 1], spots[n, NX + 2]
        scale = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
        if area > 0:  # seen from behind
            scale = -scale
        spots[n, NX], spots[n, NX + 1], spots[n, NX + 2] = nx * scale, ny * scale, nz * scale
        if materials[m, STRAND] > 0:  # strands are drawn along the face's v axis
            for c in range(3):
                along = (world[k, c] - world[i, c]) * (u1 - u0) - (world[j, c] - world[i, c]) * (u2 - u0)
                spots[n, TX + c] = along


@kernel
@no_type_check
def _paint(count, faces, material, materials, texels, levels, decode, overlay, weights, spots, colours):
    """Linear colour of each spot's texture, under the overlay where its material has one."""
    for n in range(count):
        m = material[faces[n]]
        u, v = spots[n, U], spots[n, V]
        red, green, blue = texture(texels, levels, decode, m, u, v, spots[n, LEVEL])
        if materials[m, OVERLAY] > 0:
            relief = min(max(1 + _relief(overlay, weights, u, v), 0.25), 1.35)
            # Creases keep some red, as light that has travelled through skin does.
            red, green, blue = red * (0.25 + 0.75 * relief), green * relief, blue * relief
        colours[n, 0], colours[n, 1], colours[n, 2] = red, green, blue


@kernel
@no_type_check
def _shadow(count, nearness, m, bias, fade, softest, spots):
    """Share of the key light that reaches each spot: 3x3 comparisons, smoothed over a sample.

    The light is a large one: a thing in its way takes only a part of it, the less the further it is away.
    """
    size, offset = nearness.shape[0], 0.003
    for n in range(count):
        x, y, z = spots[n, X], spots[n, X + 1], spots[n, X + 2]
        x, y, z = x + offset * spots[n, NX], y + offset * spots[n, NX + 1], z + offset * spots[n, NX + 2]
        sx = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3] - 0.5
        sy = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3] - 0.5
        near = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3] + bias
        x0, y0 = int(np.floor(sx)), int(np.floor(sy))
        if x0 < 2 or y0 < 2 or x0 > size - 4 or y0 > size - 4:
            spots[n, LIT] = 1.0
            continue
        fx, fy = sx - x0, sy - y0
        total = 0.0
        for j in range(-1, 3):
            wy = (1 - fy) if j == -1 else (fy if j == 2 else 1.0)
            for i in range(-1, 3):
                wx = (1 - fx) if i == -1 else (fx if i == 2 else 1.0)
                depth = nearness[y0 + j, x0 + i] - near
                total += wx * wy * (1.0 if depth <= 0 else min(softest, depth * fade))
        spots[n, LIT] = BEHIND + (1 - BEHIND) * total / 9.0


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
def _sine(spots, n, ux, uy, uz):
    """Of the angle between a spot's strands and a direction."""
    tx, ty, tz = np.float32(spots[n, TX]), np.float32(spots[n, TX + 1]), np.float32(spots[n, TX + 2])
    dot = (tx * ux + ty * uy + tz * uz) / np.sqrt(tx * tx + ty * ty + tz * tz + 1e-20)
    return np.sqrt(max(0.0, 1 - dot * dot))


@kernel
@no_type_check
def _light(count, faces, material, materials, light, eye, encode, spots, colours):
    """From the texture's colour of each spot to that on the display."""
    for n in range(count):
        m = material[faces[n]]
        shade, lit = spots[n, SHADE], spots[n, LIT]
        nx, ny, nz = spots[n, NX], spots[n, NX + 1], spots[n, NX + 2]
        vx, vy, vz = eye[0] - spots[n, X], eye[1] - spots[n, X + 1], eye[2] - spots[n, X + 2]
        scale = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx * scale, vy * scale, vz * scale
        up = 0.5 + 0.5 * ny
        dr = shade * (light[SKY, 1, 0] * up + light[GROUND, 1, 0] * (1 - up))
        dg = shade * (light[SKY, 1, 1] * up + light[GROUND, 1, 1] * (1 - up))
        db = shade * (light[SKY, 1, 2] * up + light[GROUND, 1, 2] * (1 - up))
        wrap_r, wrap_g, wrap_b = materials[m, WRAP], materials[m, WRAP + 1], materials[m, WRAP + 2]
        spec = 0.0
        for s in range(3):
            lx, ly, lz = light[s, 0, 0], light[s, 0, 1], light[s, 0, 2]
            nl = nx * lx + ny * ly + nz * lz
            reach = lit * (0.35 + 0.65 * shade) if s == KEY else shade
            # The red light that wraps furthest also creeps into the shadow's edge.
            creep = reach + wrap_r * reach * (1 - reach)
            dr += light[s, 1, 0] * max(0.0, (nl + wrap_r) / (1 + wrap_r)) * creep
            dg += light[s, 1, 1] * max(0.0, (nl + wrap_g) / (1 + wrap_g)) * reach
            db += light[s, 1, 2] * max(0.0, (nl + wrap_b) / (1 + wrap_b)) * reach
            if materials[m, SPECULAR] > 0 and nl > -0.2:
                hx, hy, hz = lx + vx, ly + vy, lz + vz
                scale = 1.0 / np.sqrt(hx * hx + hy * hy + hz * hz)
                hx, hy, hz = hx * scale, hy * scale, hz * scale
                if materials[m, STRAND] > 0:
                    shine = _power(_sine(spots, n, hx, hy, hz), materials[m, GLOSS]) * min(1.0, nl + 0.2)
                else:
                    shine = _power(nx * hx + ny * hy + nz * hz, materials[m, GLOSS])
                spec += shine * reach * light[s, 1, 1]
        spec *= materials[m, SPECULAR]
        tinted = materials[m, STRAND] > 0  # as the highlight of hair is
        for c in range(3):
            colour, diffuse = colours[n, c], dr if c == 0 else dg if c == 1 else db
            linear = colour * diffuse + (spec * (colour + 0.04) if tinted else spec)
            colours[n, c] = encode[min(ENCODE - 1, int(np.sqrt(max(linear, 0.0) * 0.5) * ENCODE))]


@kernel
@no_type_check
def _mix(spot_of, colours, background, rgb, matte):
    """A row of pixels from the colours of their samples."""
    count = spot_of.shape[1]
    for x in range(len(spot_of)):
        total_r = total_g = total_b = 0.0
        hit = 0
        for s in range(count):
            n = spot_of[x, s]
            if n >= 0:
                total_r, total_g, total_b = total_r + colours[n, 0], total_g + colours[n, 1], total_b + colours[n, 2]
                hit += 1
        empty = count - hit
        rgb[x, 0] = int((total_r + empty * background[0]) / count + 0.5)
        rgb[x, 1] = int((total_g + empty * background[1]) / count + 0.5)
        rgb[x, 2] = int((total_b + empty * background[2]) / count + 0.5)
        matte[x] = int(255.0 * hit / count + 0.5)


@kernel
@no_type_check
def shade(ids, nearness, over, surface, atlas, moving, look, shadow, background):
    """Pixels (H, W, 3) uint8 on a background and their coverage (H, W) uint8, `over`^2 samples each.

    A row is shaded step by step, one loop over its spots each: small loops keep the processor busy.
    """
    height, width = ids.shape[0] // over, ids.shape[1] // over
    rgb = np.empty((height, width, 3), np.uint8)
    matte = np.empty((height, width), np.uint8)
    most = width * over * over
    faces, at, spot_of = (
        np.empty(most, np.int32),
        np.empty((most, 2), np.int32),
        np.empty((width, over * over), np.int32),
    )
    spots, colours = np.empty((most, SPOT_COLUMNS)), np.empty((most, 3))
    material, materials = surface.material, look.materials
    for y in range(height):
        count = _list_spots(y, over, ids, nearness, material, materials, faces, at, spot_of)
        _place(count, faces, at, surface, atlas.levels, materials,
               moving.world, moving.screen, moving.normals, moving.shade, spots)  # fmt: skip
        _paint(count, faces, material, materials, atlas.texels, atlas.levels,
               look.decode, look.overlay, moving.overlay, spots, colours)  # fmt: skip
        _shadow(count, shadow.nearness, shadow.to_light, shadow.bias, shadow.fade, shadow.softest, spots)
        _light(count, faces, material, materials, look.lights, moving.eye, look.encode, spots, colours)
        _mix(spot_of, colours, background, rgb[y], matte[y])
    return rgb, matte
