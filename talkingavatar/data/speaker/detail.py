"""Expression detail that no generic basis holds: wrinkles, folds, a smile that pulls to one side.

Each channel is a displacement field on the full mesh with an activation that depends on the facial
actions; creases finer than the mesh are painted as relief and weighted by the same activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int8

from talkingavatar.body.full_mesh import FullMesh
from talkingavatar.data.speaker.face import Face
from talkingavatar.data.speaker.identity import Identity
from talkingavatar.data.speaker.mesh_normals import smooth_normals
from talkingavatar.data.speaker.texture import ball, bump, mirrored, noise, ramp

_LASHES = tuple(f"helper-{side}-eyelashes-{k}" for side in "lr" for k in (1, 2))
Field = Float[np.ndarray, "*s"]
Places = Float[np.ndarray, "*s 3"]


@dataclass(frozen=True)
class Channel:
    """One detail of a face.

    Args:
        name: what it is.
        drive: activation, 0 at rest, from a function that gives a facial action's strength by name.
        move: displacement (x, y, z) in metres at canonical places, given also their normals.
        relief: painted ridges (positive) and creases (negative), -1 to 1, at canonical places.
    """

    name: str
    drive: Callable[[Callable[[str], float]], float]
    move: Callable[[Places, Places], Places] | None = None
    relief: Callable[[Places], Field] | None = None


@dataclass(frozen=True)
class Detail:
    """All channels of one identity, evaluated."""

    channels: tuple[Channel, ...]
    names: list[str]  # of the facial actions
    directions: Float[np.ndarray, "V 3 C"]  # metres per unit of activation, on the full mesh
    overlay: Int8[np.ndarray, "h w C"]  # in the head's texture

    def activations(self, expression: Float[np.ndarray, " E"]) -> Float[np.ndarray, " C"]:
        """Strength of each channel; 0 for a neutral face."""
        strength = dict(zip(self.names, expression.tolist(), strict=False))
        return np.array([channel.drive(lambda name: strength[name]) for channel in self.channels])

    def overlay_weights(self, expression: Float[np.ndarray, " E"]) -> Float[np.ndarray, " C"]:
        return np.clip(self.activations(expression), 0, 1.5).astype(np.float32)


def build_detail(
    full: FullMesh, face: Face, who: Identity, names: list[str], where: Float[np.ndarray, "h w 3"]
) -> Detail:
    """Evaluate the channels on the vertices of the head and on the head's texture.

    Args:
        where: canonical place of each texel of the head.
    """
    channels = _channels(face, who)
    places = full.vertices.astype(np.float64)
    normals = smooth_normals(full.vertices, full.group_faces("body"))
    # Eyes, teeth and what lies deep in the head do not take part.
    skin = np.zeros(len(places))
    skin[np.unique(full.group_faces("body", *_LASHES))] = 1
    front = skin * ramp(face["ear"][2] + 0.01, face["ear"][2] + 0.03, places[:, 2])
    directions = np.zeros((*places.shape, len(channels)))
    overlay = np.zeros((*where.shape[:2], len(channels)), np.int8)
    for c, channel in enumerate(channels):
        if channel.move is not None:
            directions[..., c] = channel.move(places, normals) * front[:, None]
        if channel.relief is not None:
            overlay[..., c] = np.clip(channel.relief(where) * 127, -127, 127).astype(np.int8)
    return Detail(channels, names, directions, overlay)


def _channels(face: Face, who: Identity) -> tuple[Channel, ...]:
    deep = 0.65 + 0.45 * who.skin.age
    return (
        *_smile(face, who.crooked, deep),
        *_upper_face(face, who.crooked, deep),
        *_lower_face(face, who.crooked, deep, who.seed),
    )


def _both(action: str) -> Callable[[Callable[[str], float]], float]:
    return lambda strength: 0.5 * (strength(f"{action}Left") + strength(f"{action}Right"))


def _on_side(p: Places, side: float) -> Field:
    """1 on the chosen side of the face (+1 the person's left), 0 on the other, soft across the middle."""
    return ramp(-0.006, 0.010, p[..., 0] * side)


def _smile(face: Face, side: float, deep: float) -> tuple[Channel, ...]:
    """One corner of the mouth pulled further than the other, rising cheeks, the folds beside the nose."""
    corner, wing = face["corner"], face["wing"]
    fold_x = np.array([wing[0] + 0.002, corner[0] + 0.0065, corner[0] + 0.0105, corner[0] + 0.009])
    fold_y = np.array([wing[1] + 0.004, corner[1] + 0.014, corner[1] + 0.001, corner[1] - 0.012])

    def pull(p: Places, n: Places) -> Places:
        near = ball(mirrored(p), corner, (0.017, 0.016, 0.03)) * _on_side(p, side)
        return near[..., None] * [0.0038 * side, 0.0062, -0.0015]

    def apples(p: Places, n: Places) -> Places:
        near = ball(mirrored(p), face.at("wing", 0.024, 0.006, -0.012), (0.016, 0.013, 0.03))
        return (near * (0.0035 + 0.0015 * _on_side(p, side)))[..., None] * (n + np.array([0, 0.35, 0]))

    def distance(p: Places) -> tuple[Field, Field]:
        q = mirrored(p)
        x = np.interp(q[..., 1], fold_y[::-1], fold_x[::-1])
        reach = ramp(fold_y[-1], fold_y[-1] + 0.012, q[..., 1]) * ramp(fold_y[0], fold_y[0] - 0.004, q[..., 1])
        return (q[..., 0] - x) * 0.8, reach * ramp(corner[2] - 0.03, corner[2] - 0.02, q[..., 2])

    def groove(p: Places, n: Places) -> Places:
        d, reach = distance(p)
        return (reach * (0.0014 * bump(d, 0.005, 0.004) - 0.0018 * bump(d, -0.0005, 0.003)))[..., None] * n

    def crease(p: Places) -> Field:
        d, reach = distance(p)
        return deep * reach * (0.12 * bump(d, 0.0032, 0.0022) - 0.6 * bump(d, 0, 0.0016))

    return (
        Channel("smile_pull", _both("mouthSmile"), pull),
        Channel("smile_cheeks", _both("mouthSmile"), apples),
        Channel("nasolabial", lambda s: _both("mouthSmile")(s) + 0.5 * _both("noseSneer")(s), groove, crease),
    )


def _upper_face(face: Face, side: float, deep: float) -> tuple[Channel, ...]:
    """Furrows of the forehead, a cocked brow, the frown between the brows, crow's feet."""
    brow, bridge, outer = face["brow_middle"], face["bridge"], face["eye_outer"]

    def raised(s: Callable[[str], float]) -> float:
        return 0.6 * s("browInnerUp") + 0.4 * _both("browOuterUp")(s)

    def rows(p: Places) -> Field:
        q = mirrored(p)
        y = q[..., 1] - brow[1] + 0.0022 * np.cos(q[..., 0] * 70) - 0.004 * ramp(0.02, 0.05, q[..., 0])
        lines = sum(bump(y, h, 0.0013) - 0.2 * bump(y, h + 0.003, 0.002) for h in (0.0185, 0.0265, 0.034, 0.0405))
        lines = lines * (0.75 + 0.25 * np.cos(q[..., 0] * 160 + 40 * y))
        return lines * ramp(0.050, 0.030, q[..., 0]) * ramp(outer[2] - 0.03, outer[2], q[..., 2])

    def furrow(p: Places, n: Places) -> Places:
        lift = ball(mirrored(p), brow + np.array([0, 0.006, 0]), (0.022, 0.014, 0.03))
        cocked = lift * (0.0012 + 0.0035 * _on_side(p, side))
        return (-0.0011 * rows(p))[..., None] * n + cocked[..., None] * [0, 1.0, 0.25]

    def frown_lines(p: Places) -> Field:
        q = mirrored(p)
        x = q[..., 0] - 0.0062 - 0.10 * (q[..., 1] - bridge[1] - 0.018)
        reach = bump(q[..., 1], bridge[1] + 0.021, 0.011) * ramp(outer[2], outer[2] + 0.006, q[..., 2])
        return reach * (bump(x, 0, 0.0014) - 0.3 * bump(x, 0.004, 0.0025))

    def knit(p: Places, n: Places) -> Places:
        q = mirrored(p)
        pinch = ball(q, face.at("brow_inner", -0.003), (0.011, 0.010, 0.03))
        out = (-0.0013 * frown_lines(p) + 0.0022 * pinch)[..., None] * n
        return out + (pinch * 0.0022)[..., None] * np.stack([-np.sign(p[..., 0]), -0.6 + 0 * pinch, 0 * pinch], -1)

    def feet(p: Places) -> Field:
        q = mirrored(p) - outer - [0.001, 0, 0]
        angle = np.arctan2(q[..., 1], np.hypot(q[..., 0], q[..., 2]) + 1e-6)
        away = np.sqrt((q**2).sum(-1))
        fan = np.maximum(np.cos(angle * 13 + 0.6), 0) ** 5
        return -deep * 0.7 * fan * ramp(0.004, 0.008, away) * ramp(0.024, 0.012, away) * (q[..., 0] > 0)

    def squeeze(p: Places, n: Places) -> Places:
        near = ball(mirrored(p), outer + np.array([0.006, -0.012, 0]), (0.012, 0.008, 0.02))
        return (0.0022 * near)[..., None] * (n + np.array([0, 0.4, 0]))

    def squint(s: Callable[[str], float]) -> float:
        return max(_both("eyeSquint")(s), _both("cheekSquint")(s), 0.7 * _both("mouthSmile")(s))

    return (
        Channel("forehead", raised, furrow, lambda p: -deep * 0.62 * rows(p)),
        Channel("frown", _both("browDown"), knit, lambda p: -deep * 0.75 * frown_lines(p)),
        Channel("crows_feet", squint, squeeze, feet),
    )


def _lower_face(face: Face, side: float, deep: float, seed: int) -> tuple[Channel, ...]:
    """A chin that dimples, a lower lip drawn to one side in speech, lines about puckered lips."""
    chin, corner, low = face["chin"], face["corner"], face.lower_lip[0]
    ball_of_chin = np.array([0.0, 0.55 * chin[1] + 0.45 * low[1], chin[2] + 0.012])

    def dimple(p: Places, n: Places) -> Places:
        pit, ring = ball(p, ball_of_chin, 0.0065), ball(p, ball_of_chin, 0.016)
        return (0.0030 * ring - 0.0055 * pit)[..., None] * n + ring[..., None] * [0, 0.003, 0]

    def pebbles(p: Places) -> Field:
        grain = noise(p.astype(np.float32), 0.0045, seed + 3)
        return -0.5 * ball(p, ball_of_chin, 0.014) * ramp(0.0, 0.5, grain)

    def drawn(p: Places, n: Places) -> Places:
        place = np.array([0.55 * corner[0] * side, low[1] + 0.004, low[2]])
        return ball(p, place, (0.012, 0.010, 0.02))[..., None] * [0.0022 * side, -0.0045, 0.0008]

    def spoken(s: Callable[[str], float]) -> float:
        return _both("mouthLowerDown")(s) + 0.5 * _both("mouthUpperUp")(s)

    def push(p: Places, n: Places) -> Places:
        near = ball(p, face["seam"], (0.016, 0.012, 0.03))
        return near[..., None] * [0.0014 * side, 0.0, 0.0030]

    def radial(p: Places) -> Field:
        d = p - face["seam"]
        away = np.hypot(d[..., 0] * 0.75, d[..., 1])
        ring = ramp(0.009, 0.013, away) * ramp(0.022, 0.016, away) * ramp(corner[2] - 0.012, corner[2], p[..., 2])
        return -0.35 * deep * ring * np.cos(np.arctan2(d[..., 1], d[..., 0]) * 22) ** 4

    return (
        Channel("chin", lambda s: s("mouthShrugLower"), dimple, pebbles),
        Channel("speech", spoken, drawn),
        Channel("pucker", lambda s: s("mouthPucker") + 0.5 * s("mouthFunnel"), push, radial),
    )
