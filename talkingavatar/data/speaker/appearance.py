"""Skin, eyes, mouth and lashes of an identity, painted by position on the canonical body."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from talkingavatar.data.speaker import face as regions
from talkingavatar.data.speaker.face import Face
from talkingavatar.data.speaker.identity import Identity
from talkingavatar.data.speaker.texture import (
    TexelMap,
    ball,
    bump,
    fractal,
    mirrored,
    mix,
    noise,
    ramp,
    to_bytes,
)

Paint = Float[np.ndarray, "h w 3"]
Texture = UInt8[np.ndarray, "_ _ 4"]


def paint_head(where: TexelMap, face: Face, who: Identity) -> Texture:
    """Skin of the head with brows, lips, lash lines, stubble and the roots of the hair."""
    p, q = where.position, mirrored(where.position)
    rgb = _skin(where, who)
    rgb = _blush(rgb, q, face, who)
    rgb = _freckles(rgb, p, q, face, who)
    rgb = _eye_surround(rgb, q, face, who)
    rgb = _lips(rgb, p, q, face, who)
    rgb = _facial_hair(rgb, p, q, face, who)
    return to_bytes(rgb)


def _skin(where: TexelMap, who: Identity) -> Paint:
    """Tone with blotches, mottling and pores."""
    p = where.position
    rgb = np.broadcast_to(np.array(who.skin.tone, np.float32), p.shape).copy()
    blotch = fractal(p, 0.045, 3, who.seed)
    rgb = mix(rgb, rgb * np.array([1.02, 0.94, 0.92], np.float32), 0.6 * (1 + who.skin.age) * np.clip(blotch, 0, 1))
    rgb *= 1 + (0.022 * fractal(p, 0.004, 3, who.seed + 5) + 0.014 * noise(p, 0.0011, who.seed + 9))[..., None]
    return rgb


def _blush(rgb: Paint, q: Paint, face: Face, who: Identity) -> Paint:
    """More blood under the cheeks, nose, ears and chin; less over the brow and along the jaw."""
    red = 0.55 * regions.cheek(face, q) + 0.5 * ball(q, face["nose"], 0.013) + 0.5 * regions.ear(face, q)
    red += 0.3 * ball(q, face.at("chin", y=0.012, z=0.01), 0.014) + 0.35 * ball(q, face["wing"], 0.008)
    red *= who.skin.blush * (0.85 + 0.3 * fractal(q, 0.012, 2, who.seed + 1))
    rgb = mix(rgb, rgb * np.array([1.0, 0.80, 0.77], np.float32), np.clip(red, 0, 1))
    return mix(
        rgb,
        rgb * np.array([1.03, 1.03, 1.01], np.float32),
        ball(q, face.at("bridge", y=0.05), (0.05, 0.025, 0.05)),
    )


def _freckles(rgb: Paint, p: Paint, q: Paint, face: Face, who: Identity) -> Paint:
    if who.skin.freckles == 0:
        return rgb
    spread = regions.cheek(face, q) + ball(q, face.at("nose", y=0.02), (0.02, 0.02, 0.03))
    spots = ramp(0.42, 0.62, noise(p, 0.0026, who.seed + 20)) * ramp(-0.1, 0.5, noise(p, 0.012, who.seed + 21))
    return mix(
        rgb,
        rgb * np.array([0.80, 0.66, 0.56], np.float32),
        np.clip(spread * spots * who.skin.freckles, 0, 0.6),
    )


def _eye_surround(rgb: Paint, q: Paint, face: Face, who: Identity) -> Paint:
    """Shaded sockets, thin skin under the eyes, lash lines, brows."""
    tired = ball(q, face.eye + np.array([0.0, -0.0155, 0.012]), (0.015, 0.0045, 0.03))
    rgb = mix(rgb, rgb * np.array([0.86, 0.78, 0.80], np.float32), (0.45 + 0.3 * who.skin.age) * tired)
    lid = ball(q, face.eye + np.array([0.001, 0.009, 0.014]), (0.017, 0.0065, 0.02))
    rgb = mix(rgb, rgb * np.array([0.88, 0.76, 0.73], np.float32), (0.5 + 0.5 * who.skin.make_up) * lid)
    inner = ball(q, face["eye_inner"] + np.array([0.0015, -0.0008, -0.001]), 0.0025)
    rgb = mix(rgb, (0.72, 0.42, 0.40), 0.5 * inner)
    dark = np.array(who.skin.brow) * 0.55
    rgb = mix(rgb, dark, (0.55 + 0.4 * who.skin.make_up) * regions.lash_line(face, q))
    density, s = regions.brow(face, q, who.skin.brow_weight)
    # Hairs stand up at the inner end and lie along the brow further out.
    lean = np.stack([q[..., 0] - 0.8 * (1 - s) * q[..., 1], q[..., 1] + 0.35 * q[..., 0], q[..., 2]], -1)
    hairs = ramp(-0.55, 0.45, noise(lean, (0.0030, 0.0008, 0.02), who.seed + 31) + 0.9 * (density - 0.55))
    return mix(rgb, who.skin.brow, np.clip(density * (0.30 + 0.62 * hairs), 0, 0.92))


def _lips(rgb: Paint, p: Paint, q: Paint, face: Face, who: Identity) -> Paint:
    red = regions.lips(face, q)
    lines = noise(p, (0.0011, 0.010, 0.02), who.seed + 41)
    colour = np.array(who.skin.lips) * (1 + 0.07 * lines + 0.04 * fractal(p, 0.006, 2, who.seed + 42))[..., None]
    rgb = mix(rgb, colour, 0.9 * red)
    below = bump(q[..., 1] - face.lower_lip[0, 1], -0.002, 0.0025) * ramp(0.02, 0.008, q[..., 0])
    rgb = mix(rgb, rgb * np.array([0.86, 0.80, 0.78], np.float32), 0.6 * below * (1 - red))
    corner = ball(q, face["corner"] + np.array([0.001, 0, 0]), (0.0032, 0.0022, 0.01))
    rgb = mix(rgb, rgb * np.array([0.62, 0.5, 0.5], np.float32), 0.6 * corner)
    return mix(rgb, rgb * np.array([0.55, 0.42, 0.42], np.float32), 0.75 * regions.lip_seam(face, q))


def _facial_hair(rgb: Paint, p: Paint, q: Paint, face: Face, who: Identity) -> Paint:
    """Stubble and the roots of beard and hair; a shaved head keeps a faint shadow."""
    grain = 0.75 + 0.5 * noise(p, 0.0014, who.seed + 51)
    rough = fractal(p, 0.009, 2, who.seed + 52)
    hair = np.array(who.hair.colour)
    beard = np.clip(regions.beard(face, q) + 0.18 * rough * (regions.beard(face, q) > 0.02), 0, 1)
    shadow = rgb * np.array([0.68, 0.66, 0.68], np.float32)
    rgb = mix(rgb, shadow, np.clip(beard * who.skin.stubble * grain, 0, 0.85))
    if who.hair.beard > 0:
        rgb = mix(rgb, hair, np.clip(beard * 0.8 * grain, 0, 0.9))
    roots = regions.scalp(face, q)
    if who.hair.style == "none":
        return mix(rgb, rgb * np.array([0.90, 0.88, 0.88], np.float32), 0.12 * np.clip(roots * grain, 0, 1))
    streaks = 0.5 + 0.5 * noise(p, (0.03, 0.0016, 0.0016), who.seed + 53) + 0.2 * rough
    combed = mix(np.broadcast_to(hair * 0.8, rgb.shape), who.hair.light, np.clip(0.6 * streaks, 0, 0.7))
    return mix(rgb, combed, np.clip(roots * 1.2 + 0.5 * rough * (roots > 0.05), 0, 1))


def paint_body(where: TexelMap, face: Face, who: Identity) -> Texture:
    """Skin of neck, arms and hands; knuckles, nails, palms."""
    q = mirrored(where.position)
    rgb = _skin(where, who)
    tips = face.finger_tips
    hand = ramp(tips[:, 0].max() - 0.22, tips[:, 0].max() - 0.16, q[..., 0])
    back = ramp(-0.2, 0.4, where.normal[..., 1])
    rgb = mix(rgb, np.array([0.90, 0.70, 0.62]) * 0.5 + rgb * 0.5, 0.55 * hand * (1 - back))
    knuckles = np.clip(fractal(q, 0.018, 2, who.seed + 61), 0, 1)
    red = hand * 0.35 * knuckles + sum(0.6 * ball(q, tip, 0.012) for tip in tips)
    rgb = mix(rgb, rgb * np.array([1.0, 0.80, 0.77], np.float32), np.clip(red * who.skin.blush, 0, 1))
    for tip in tips:
        nail = ball(q, tip + np.array([-0.004, 0.004, 0.0]), (0.0065, 0.006, 0.005)) * back
        rgb = mix(rgb, np.array([0.93, 0.74, 0.70]) * 0.45 + rgb * 0.62, ramp(0.35, 0.55, nail))
    return to_bytes(rgb)


def paint_eye(where: TexelMap, face: Face, who: Identity) -> Texture:
    """Sclera with vessels, iris with fibres and a limbal ring, pupil; by the angle from the optical axis."""
    offset = mirrored(where.position) - face.eye
    radius = np.hypot(offset[..., 0], offset[..., 1])
    radius = np.where(offset[..., 2] > 0, radius, 1.0)
    turn = np.arctan2(offset[..., 1], offset[..., 0])
    white = np.broadcast_to(np.array([0.90, 0.875, 0.855]), offset.shape)
    vessels = ramp(0.52, 0.75, noise(offset, (0.004, 0.0007, 0.004), who.seed + 71)) * ramp(0.007, 0.014, radius)
    rgb = mix(white, (0.80, 0.50, 0.46), 0.35 * vessels)
    rgb = mix(rgb, (0.82, 0.66, 0.62), ramp(0.009, 0.0135, radius))
    ring = np.stack([np.cos(turn) * 9, np.sin(turn) * 9, radius * 500], -1).astype(np.float32)
    fibres = noise(ring, 1.0, who.seed + 72) + 0.5 * noise(ring, 0.45, who.seed + 73)
    iris = np.array(who.iris) * (1.25 + 0.28 * fibres)[..., None]
    iris = mix(iris, np.array(who.iris) * [1.5, 1.2, 0.8], bump(radius, 0.0028, 0.0011) * 0.6)
    iris = mix(iris, np.array(who.iris) * 0.28, ramp(0.0050, 0.0064, radius))
    rgb = mix(rgb, iris, ramp(0.0069, 0.0062, radius))
    return to_bytes(mix(rgb, (0.015, 0.013, 0.013), ramp(0.0029, 0.0024, radius)))


def paint_mouth(where: TexelMap, face: Face, who: Identity) -> Texture:
    """The cavity behind the lips: red in front, dark in the depth."""
    depth = ramp(face["corner"][2] - 0.004, face["corner"][2] - 0.035, where.position[..., 2])
    rgb = mix(np.array(who.skin.lips) * [0.78, 0.55, 0.55] + 0 * where.position, (0.16, 0.035, 0.04), depth)
    return to_bytes(rgb * (1 + 0.06 * fractal(where.position, 0.006, 2, who.seed + 81))[..., None])


def paint_tongue(where: TexelMap, face: Face, who: Identity) -> Texture:
    p = where.position
    rgb = np.array([0.76, 0.42, 0.42]) * (1 + 0.08 * fractal(p, 0.003, 2, who.seed + 82))[..., None]
    groove = bump(p[..., 0], 0, 0.0015) * ramp(-0.2, 0.5, where.normal[..., 1])
    back = ramp(face["corner"][2] - 0.012, face["corner"][2] - 0.05, p[..., 2])
    return to_bytes(mix(mix(rgb, rgb * 0.75, groove), (0.35, 0.12, 0.13), back))


# Widths of half an arch of teeth along the arch, metres: incisors, canine, premolars, molars.
_TOOTH_WIDTHS = np.array([0.0088, 0.0070, 0.0078, 0.0072, 0.0070, 0.0100, 0.0100])


def paint_teeth(where: TexelMap, face: Face, who: Identity, upper: bool) -> Texture:
    """Teeth told apart by dark gaps, rounded in tone, with gums above a scalloped line."""
    p = where.position
    q = mirrored(p)
    front = float(p[..., 2].max())
    # Along the arch, which is close to a circle of 36 mm about a point behind the incisors.
    angle = np.arctan2(q[..., 0], np.maximum(q[..., 2] - (front - 0.038), 1e-4))
    along = 0.037 * angle
    edges = np.concatenate([[0], np.cumsum(_TOOTH_WIDTHS)])
    tooth = np.clip(np.searchsorted(edges, along) - 1, 0, len(_TOOTH_WIDTHS) - 1)
    t = (along - edges[tooth]) / _TOOTH_WIDTHS[tooth]
    gap = np.minimum(t, 1 - t) * _TOOTH_WIDTHS[tooth]
    low, high = float(p[..., 1].min()), float(p[..., 1].max())
    height = (p[..., 1] - low) / (high - low)
    height = height if upper else 1 - height  # 0 at the biting edge, 1 at the root
    ivory = np.array([0.93, 0.89, 0.80]) * (1 - 0.05 * (tooth == 2) - 0.015 * tooth)[..., None]
    rgb = ivory * (1 - 0.10 * (2 * t - 1) ** 2)[..., None]
    rgb = mix(rgb, rgb * np.array([0.97, 0.99, 1.02], np.float32), ramp(0.25, 0.05, height))
    rgb = mix(rgb, (0.42, 0.27, 0.22), 0.8 * ramp(0.0008, 0.0002, gap))
    gum = ramp(-0.03, 0.03, height - 0.55 - 0.10 * (1 - (2 * t - 1) ** 2))
    return to_bytes(mix(rgb, np.array([0.78, 0.45, 0.44]), gum))


def paint_lash(where: TexelMap, face: Face, who: Identity) -> Texture:
    """Single hairs, denser at the root; the coverage cuts them out."""
    offset = mirrored(where.position) - face.eye
    fan = np.zeros_like(offset)
    fan[..., 0] = offset[..., 0] * (1 - 12 * (offset[..., 2] - 0.012))
    hairs = noise(fan, 0.0011, who.seed + 91)
    tip = ramp(0.010, 0.021, np.hypot(offset[..., 2], 0.5 * offset[..., 1]))
    cover = ramp(-0.5, 0.3, hairs - 1.2 * tip)
    return to_bytes(
        np.broadcast_to(np.array(who.skin.brow) * 0.4, offset.shape), (0.45 + 0.35 * who.skin.make_up) * cover
    )
