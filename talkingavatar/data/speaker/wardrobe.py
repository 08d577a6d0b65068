"""Clothes: knitted and woven textures, painted by position on the T-pose garment, and its cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from talkingavatar.data.speaker.identity import Clothes, Identity
from talkingavatar.data.speaker.texture import TexelMap, fractal, mix, noise, ramp, to_bytes

Texture = UInt8[np.ndarray, "_ _ 4"]
Paint = Float[np.ndarray, "h w 3"]
Field = Float[np.ndarray, "*s"]

PINSTRIPE = 0.0135  # metres from stripe to stripe


@dataclass(frozen=True)
class Fit:
    """Where a body carries its clothes, in its T-pose, metres."""

    pit: Float[np.ndarray, "3"]  # of the neck
    wrist: Float[np.ndarray, "3"]  # middle of the left one
    shoulder: float  # half of the shoulders' breadth
    hem: float  # height of the top's lower edge


def neck_height(p: Float[np.ndarray, "*s 3"], fit: Fit, clothes: Clothes) -> Field:
    """Signed distance below the neckline: positive where there is cloth."""
    pit = fit.pit
    front = ramp(fit.pit[2] - 0.11, pit[2] + 0.0, p[..., 2])
    side = ramp(0.018, 0.072, np.abs(p[..., 0]))
    low = pit[1] - clothes.neckline
    # The line rises from the pit in front over the sides of the neck to the nape.
    line = low + (pit[1] + 0.018 - low) * np.maximum(side, 1 - front) + 0.022 * (1 - front)
    if clothes.pattern == "shirt":
        line = line + 0.022 - 0.040 * front * ramp(0.034, 0.0, np.abs(p[..., 0]))
    # Shoulders lie as high as the line but outside of the neck's opening.
    return line + 0.12 * ramp(0.060, 0.125, np.abs(p[..., 0])) - p[..., 1]


def _limb(p: Paint, fit: Fit) -> tuple[Field, Field]:
    """Coordinates on the garment: along the body or sleeve, metres, and whether on a sleeve."""
    sleeve = (np.abs(p[..., 0]) > fit.shoulder - 0.02) & (p[..., 1] > fit.wrist[1] - 0.14)
    return np.where(sleeve, np.abs(p[..., 0]) + 0.30, p[..., 1]), sleeve.astype(np.float32)


def _around(p: Paint, sleeve: Field, fit: Fit) -> Field:
    """Coordinate around the body or the arm: an angle times a radius."""
    turn = np.arctan2(p[..., 1] - fit.wrist[1], p[..., 2] - fit.wrist[2])
    about = np.arctan2(p[..., 0], p[..., 2] - fit.pit[2] + 0.09)
    return np.where(sleeve > 0.5, 0.045 * turn, 0.15 * about)


def _knit(p: Paint, fit: Fit, stitch: float) -> Field:
    """Columns of V-shaped stitches, about -1 to 1."""
    along, sleeve = _limb(p, fit)
    column = _around(p, sleeve, fit) / stitch
    lean = np.abs(column - np.floor(column) - 0.5) * 2
    row = (along / stitch * 0.8 + 0.35 * lean) % 1
    return (2 * np.abs(2 * row - 1) - 1) * 0.7 - 0.6 * ramp(0.75, 1.0, lean)


def paint_top(where: TexelMap, fit: Fit, who: Identity) -> Texture:
    """Sweater or shirt; its coverage cuts neckline and hem."""
    p, clothes = where.position, who.clothes
    rgb = PATTERNS[clothes.pattern](p, fit, who)
    rgb = rgb * (1 + 0.05 * fractal(p, 0.05, 2, who.seed + 101) + 0.03 * noise(p, 0.002, who.seed + 102))[..., None]
    inside = np.minimum(neck_height(p, fit, clothes), p[..., 1] - fit.hem)
    return to_bytes(rgb, ramp(-0.001, 0.001, inside))


def _line(distance: Field, width: float) -> Field:
    return np.exp(-((distance / width) ** 2))


def _bands(rgb: Paint, p: Paint, fit: Fit, clothes: Clothes, colour: Paint, width: float) -> Paint:
    """Ribbed bands at neck, cuffs and hem, with shaded seams."""
    below = neck_height(p, fit, clothes)
    ribs = np.cos(np.arctan2(p[..., 0], p[..., 2] - fit.pit[2] + 0.06) * 70)
    rgb = mix(rgb, colour * (0.91 + 0.11 * ribs)[..., None], ramp(width, width - 0.0015, below))
    rgb = mix(rgb, rgb * 0.62, _line(below - width - 0.001, 0.0022))
    along, sleeve = _limb(p, fit)
    ribs = np.cos(_around(p, sleeve, fit) * 900)
    for inside in (np.abs(p[..., 0]) - fit.wrist[0] + 0.055, fit.hem + 0.045 - along):
        rgb = mix(rgb, colour * (0.91 + 0.11 * ribs)[..., None], ramp(-0.001, 0.001, inside))
        rgb = mix(rgb, rgb * 0.62, _line(inside + 0.001, 0.0025))
    return rgb


def _striped_sweater(p: Paint, fit: Fit, who: Identity) -> Paint:
    """Broad stripes, one thin bright line in each, a stitched badge on the chest."""
    c = who.clothes
    along, _ = _limb(p, fit)
    phase = (along / 0.056) % 1
    rgb = np.broadcast_to(np.array(c.main), p.shape)
    rgb = mix(rgb, c.second, ramp(0.0, 0.03, phase) * ramp(0.46, 0.43, phase))
    rgb = mix(rgb, c.third, ramp(0.66, 0.68, phase) * ramp(0.80, 0.78, phase))
    rgb = rgb * (0.93 + 0.09 * _knit(p, fit, 0.0052))[..., None]
    badge = p[..., :2] - (fit.pit[:2] + np.array([0.075, -0.105]))
    radius = np.hypot(badge[..., 0], badge[..., 1])
    front = ramp(fit.pit[2] - 0.06, fit.pit[2] - 0.04, p[..., 2])
    rgb = mix(rgb, (0.97, 0.80, 0.30), front * ramp(0.0215, 0.0205, radius))
    rgb = mix(rgb, c.second, front * ramp(0.0185, 0.0175, radius) * ramp(0.0135, 0.0145, radius))
    leaf = np.abs(badge[..., 0]) + 0.55 * np.abs(badge[..., 1] - 0.001)
    rgb = mix(rgb, c.third, front * ramp(0.0060, 0.0050, leaf))
    return _bands(rgb, p, fit, c, np.broadcast_to(np.array(c.second), p.shape), 0.017)


def _checked_shirt(p: Paint, fit: Fit, who: Identity) -> Paint:
    """A woven check with a placket, buttons and a breast pocket."""
    c = who.clothes
    along, sleeve = _limb(p, fit)
    across = _around(p, sleeve, fit)
    a, b = (along / 0.050) % 1, (across / 0.050) % 1
    warp, weft = ramp(0.30, 0.32, a) * ramp(0.64, 0.62, a), ramp(0.30, 0.32, b) * ramp(0.64, 0.62, b)
    rgb = np.broadcast_to(np.array(c.main), p.shape)
    rgb = mix(rgb, np.array(c.main) * 0.55, 0.55 * warp)
    rgb = mix(rgb, np.array(c.main) * 0.55, 0.55 * weft)
    for phase, colour in ((0.0, c.second), (0.16, c.third)):
        rgb = mix(rgb, colour, 0.75 * np.exp(-(((a - 0.06 - phase) / 0.022) ** 2)))
        rgb = mix(rgb, colour, 0.75 * np.exp(-(((b - 0.06 - phase) / 0.022) ** 2)))
    weave = np.sin(along * 2 * np.pi / 0.0022) * np.sin(across * 2 * np.pi / 0.0022)
    rgb = rgb * (1 + 0.05 * weave)[..., None]
    front = ramp(fit.pit[2] - 0.07, fit.pit[2] - 0.04, p[..., 2]) * (1 - sleeve)
    x = p[..., 0]
    rgb = mix(rgb, rgb * 0.55, front * np.exp(-(((np.abs(x) - 0.016) / 0.0014) ** 2)))
    drop = fit.pit[1] - p[..., 1]
    nearest = np.round((drop - 0.055) / 0.082) * 0.082 + 0.055
    button = np.hypot(x, drop - np.maximum(nearest, 0.055))
    rgb = mix(rgb, rgb * 0.5, front * ramp(0.0085, 0.0070, button))
    rgb = mix(rgb, c.second, front * ramp(0.0066, 0.0058, button))
    rgb = mix(rgb, (0.3, 0.27, 0.22), front * ramp(0.0012, 0.0006, np.abs(button - 0.0022)))
    pocket = np.maximum(np.abs(x - 0.085) - 0.040, np.abs(drop - 0.155) - 0.045)
    rgb = mix(rgb, rgb * 0.5, front * np.exp(-((pocket / 0.0016) ** 2)))
    flap = np.exp(-(((drop - 0.135) / 0.0014) ** 2)) * (pocket < 0)
    rgb = mix(rgb, rgb * 0.55, front * flap)
    return _collar(rgb, p, fit, c)


def _collar(rgb: Paint, p: Paint, fit: Fit, c: Clothes) -> Paint:
    """A turned-down collar with points, drawn with its shadow."""
    below = neck_height(p, fit, c)
    x = np.abs(p[..., 0])
    front = ramp(fit.pit[2] - 0.09, fit.pit[2] - 0.05, p[..., 2])
    depth = 0.030 + 0.030 * front * ramp(0.095, 0.045, x) * ramp(0.010, 0.035, x)
    rgb = mix(rgb, rgb * 0.45, np.exp(-(((below - depth - 0.003) / 0.004) ** 2)))
    plain = np.array(c.main) * 1.12 * (1 + 0.03 * noise(p, 0.0016, 5))[..., None]
    rgb = mix(rgb, plain, ramp(depth + 0.001, depth - 0.001, below))
    return mix(rgb, plain * 0.72, np.exp(-(((below - depth + 0.006) / 0.0012) ** 2)))


def _cable_sweater(p: Paint, fit: Fit, who: Identity) -> Paint:
    """Twisted cables between ribs, elbow patches, a thick collar."""
    c = who.clothes
    along, sleeve = _limb(p, fit)
    across = _around(p, sleeve, fit)
    column = across / 0.046
    local = (column - np.round(column)) * 0.046
    twist = 0.0085 * np.sin(along * 2 * np.pi / 0.062)
    one, two = np.exp(-(((local - twist) / 0.0052) ** 2)), np.exp(-(((local + twist) / 0.0052) ** 2))
    over = np.where(np.cos(along * 2 * np.pi / 0.062) > 0, one, two)
    relief = np.maximum(np.maximum(0.8 * one, 0.8 * two), over)
    rope = np.cos((along + 0.8 * local) * 2 * np.pi / 0.0085)
    gutter = np.exp(-(((np.abs(local) - 0.0185) / 0.0020) ** 2))
    shade = 0.72 + 0.34 * relief + 0.07 * rope * relief - 0.22 * gutter + 0.06 * _knit(p, fit, 0.0055)
    rgb = np.array(c.main) * shade[..., None]
    rgb = mix(rgb, np.array(c.second), 0.35 * (1 - relief))
    elbow = np.hypot((np.abs(p[..., 0]) - 0.63 * fit.wrist[0]) / 0.060, (p[..., 2] - fit.wrist[2] + 0.075) / 0.035)
    patch = ramp(1.05, 1.0, elbow)
    rgb = mix(rgb, np.array(c.third) * (1 + 0.06 * noise(p, 0.003, 7))[..., None], patch)
    rgb = mix(rgb, np.array(c.third) * 0.55, np.exp(-(((elbow - 0.93) / 0.03) ** 2)) * patch)
    return _bands(rgb, p, fit, c, np.broadcast_to(np.array(c.second) * 1.05, p.shape), 0.026)


def _pinstripes(p: Paint, fit: Fit, who: Identity) -> Paint:
    """Fine stripes down the body and along the sleeves, as soft as a wave: their edges are no finer than they are."""
    c = who.clothes
    _, sleeve = _limb(p, fit)
    wave = np.cos(_around(p, sleeve, fit) * (2 * np.pi / PINSTRIPE))
    rgb = mix(np.broadcast_to(np.array(c.main), p.shape), c.second, 0.5 + 0.5 * wave)
    return _bands(rgb, p, fit, c, np.broadcast_to(np.array(c.second), p.shape), 0.017)


PATTERNS = {"stripes": _striped_sweater, "shirt": _checked_shirt, "cable": _cable_sweater, "pinstripe": _pinstripes}


def paint_trousers(where: TexelMap, who: Identity, crotch: float) -> Texture:
    """Denim: a slanted weave, faded on the thighs, with fly, pockets and seams."""
    p = where.position
    twill = np.sin((p[..., 0] + p[..., 1]) * 2 * np.pi / 0.0035)
    faded = fractal(p, 0.06, 3, who.seed + 111)
    rgb = np.array(who.clothes.trousers) * (1 + 0.06 * twill + 0.14 * faded)[..., None]
    seam = np.exp(-((p[..., 0] / 0.002) ** 2)) * ramp(-0.01, 0.01, p[..., 1] - crotch)
    pocket = np.exp(-(((np.abs(p[..., 0]) - 0.105 - 0.35 * (p[..., 1] - crotch - 0.02)) / 0.002) ** 2))
    lines = np.maximum(seam, pocket * ramp(-0.05, -0.04, p[..., 1] - crotch)) * ramp(0.02, 0.05, p[..., 2])
    return to_bytes(mix(rgb, rgb * 0.5, np.clip(lines, 0, 1)))
