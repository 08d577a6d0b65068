"""Loops of the fit over frames: a body's points posed, what they cost, and how the cost pulls at pose and rest.

Each frame is computed by itself, in double precision, so that a result does not depend on the number of threads.
The first of a rig's corners are its joints, so that `rest[t, j]` is where joint j rests.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - compiled functions take their types from the call

from __future__ import annotations

import math
from typing import NamedTuple, no_type_check

import numpy as np
from numpy import ndarray

from talkingavatar.splatting.cpu.launch import kernel

FLIP = (1.0, -1.0, -1.0)  # from a body that stands y up and faces +z to a camera that looks at it
NEAREST = 0.05  # metres before the camera


class Rig(NamedTuple):
    """How n corners at rest become P points."""

    parents: ndarray  # (J,) int64, each before its children
    neck: int  # the joint that a place is given for
    first: ndarray  # (n + 1,) int64: corner c is carried by joints[first[c] : first[c + 1]]
    joints: ndarray  # int64
    weights: ndarray  # float64
    point: ndarray  # (n,) int64: the point a corner is part of
    share: ndarray  # (n,) float64


class Posed(NamedTuple):
    """Of T frames; float64."""

    local: ndarray  # (T, J, 3, 3): each joint's own turn
    world: ndarray  # (T, J, 3, 3)
    positions: ndarray  # (T, J, 3), metres
    points: ndarray  # (T, P, 3) before the camera, metres


class Seen(NamedTuple):
    """What the first points are compared with; distances are in long sides from the picture's centre."""

    target: ndarray  # (T, K, 2)
    worth: ndarray  # (T, K): cost of a squared metre
    pairs: ndarray  # (2, n): facing points
    pairs_worth: ndarray  # (T, n): cost of a squared metre that they are further apart than was seen
    per_metre: ndarray  # (T,)
    outlier: float  # metres


class Followed(NamedTuple):
    """Places on the surface, the last of the points; pixels from the picture's centre."""

    target: ndarray  # (T, M, 2)
    worth: ndarray  # (T, M): cost of a squared pixel
    precision: ndarray  # (M, 2, 2)
    long_side: float  # pixels
    outlier: float  # pixels


class Steady(NamedTuple):
    """What accelerations cost."""

    middle: ndarray  # (T,) bool: the frames before and after are of the same shot
    worth: ndarray  # (Q,) of the first points: cost of a squared second difference, metres


@kernel
@no_type_check
def _turn(rotvec, out):
    """Rodrigues' formula: R = I + a K + b K^2."""
    x, y, z = np.float64(rotvec[0]), np.float64(rotvec[1]), np.float64(rotvec[2])
    square = x * x + y * y + z * z
    a, b, _, _ = _coefficients(square)
    out[0, 0], out[0, 1], out[0, 2] = 1 + b * (x * x - square), b * x * y - a * z, b * x * z + a * y
    out[1, 0], out[1, 1], out[1, 2] = b * x * y + a * z, 1 + b * (y * y - square), b * y * z - a * x
    out[2, 0], out[2, 1], out[2, 2] = b * x * z - a * y, b * y * z + a * x, 1 + b * (z * z - square)


@kernel
@no_type_check
def _coefficients(square):
    """a, b of Rodrigues' formula and their slopes in the squared angle."""
    if square < 1e-6:
        return 1 - square / 6, 0.5 - square / 24, -1 / 6, -1 / 24
    angle = math.sqrt(square)
    a, b = math.sin(angle) / angle, (1 - math.cos(angle)) / square
    return a, b, (math.cos(angle) - a) / (2 * square), (a - 2 * b) / (2 * square)


@kernel
@no_type_check
def _pull_turn(rotvec, pull, out):
    """Pull at a rotation vector, of that at its matrix."""
    r = (np.float64(rotvec[0]), np.float64(rotvec[1]), np.float64(rotvec[2]))
    square = r[0] * r[0] + r[1] * r[1] + r[2] * r[2]
    a, b, slope_a, slope_b = _coefficients(square)
    skew = (pull[2, 1] - pull[1, 2], pull[0, 2] - pull[2, 0], pull[1, 0] - pull[0, 1])  # <pull, K_i>
    trace = pull[0, 0] + pull[1, 1] + pull[2, 2]
    both = 0.0  # <pull, r r^T>
    for i in range(3):
        for j in range(3):
            both += pull[i, j] * r[i] * r[j]
    along = skew[0] * r[0] + skew[1] * r[1] + skew[2] * r[2]
    common = 2 * (slope_a * along + slope_b * (both - square * trace) - b * trace)
    for i in range(3):
        mixed = 0.0
        for j in range(3):
            mixed += (pull[i, j] + pull[j, i]) * r[j]
        out[i] = a * skew[i] + b * mixed + common * r[i]


@kernel
@no_type_check
def pose(part, parts, rotvecs, rest, places, rig, posed):
    """Fill `posed`. Turns (T, J, 3), corners at rest (T, n, 3), places of the neck before the camera (T, 3)."""
    for t in range(part, len(rotvecs), parts):
        local, world, positions, points = posed.local[t], posed.world[t], posed.positions[t], posed.points[t]
        for j in range(len(rig.parents)):
            _turn(rotvecs[t, j], local[j])
            p = rig.parents[j]
            for i in range(3):
                if p < 0:
                    positions[j, i] = rest[t, j, i]
                    for k in range(3):
                        world[j, i, k] = local[j, i, k]
                    continue
                positions[j, i] = positions[p, i]
                for k in range(3):
                    positions[j, i] += world[p, i, k] * (np.float64(rest[t, j, k]) - rest[t, p, k])
                    turned = 0.0
                    for m in range(3):
                        turned += world[p, i, m] * local[j, m, k]
                    world[j, i, k] = turned
        points[:] = 0.0
        for c in range(len(rig.point)):
            point = rig.point[c]
            for n in range(rig.first[c], rig.first[c + 1]):
                j, weight = rig.joints[n], rig.weights[n] * rig.share[c]
                for i in range(3):
                    at = positions[j, i]
                    for k in range(3):
                        at += world[j, i, k] * (np.float64(rest[t, c, k]) - rest[t, j, k])
                    points[point, i] += weight * at
        for point in range(len(points)):
            for i in range(3):
                points[point, i] = FLIP[i] * (points[point, i] - positions[rig.neck, i]) + places[t, i]


@kernel
@no_type_check
def cost(part, parts, points, focal, seen, followed, steady, costs, pulls):
    """Cost of each frame (T,) and its pull at the points (T, P, 3).

    A frame's own share of the accelerations is of those in whose middle it stands; its pull is that of all it is in.
    """
    count = len(seen.pairs[0])
    apart = np.empty((seen.target.shape[1], 2))  # metres
    pull = np.empty((seen.target.shape[1], 2))
    for t in range(part, len(points), parts):
        pulls[t] = 0.0
        total = 0.0
        pull[:] = 0.0
        for k in range(len(apart)):
            z = max(points[t, k, 2], NEAREST)
            for i in range(2):
                apart[k, i] = (focal * points[t, k, i] / z - seen.target[t, k, i]) / seen.per_metre[t]
            value, slope = _robust(apart[k, 0] ** 2 + apart[k, 1] ** 2, seen.outlier)
            total += seen.worth[t, k] * value
            for i in range(2):
                pull[k, i] = 2 * seen.worth[t, k] * slope * apart[k, i]
        for n in range(count):
            a, b = seen.pairs[0, n], seen.pairs[1, n]
            x, y = apart[a, 0] - apart[b, 0], apart[a, 1] - apart[b, 1]
            value, slope = _robust(x * x + y * y, seen.outlier)
            total += seen.pairs_worth[t, n] * value
            strength = 2 * seen.pairs_worth[t, n] * slope
            pull[a, 0] += strength * x
            pull[a, 1] += strength * y
            pull[b, 0] -= strength * x
            pull[b, 1] -= strength * y
        for k in range(len(apart)):
            scale = focal / seen.per_metre[t]
            _pull_projected(points[t, k], pull[k, 0] * scale, pull[k, 1] * scale, pulls[t, k])
        total += _surface_cost(t, points, focal, followed, pulls)
        costs[t] = total + _bent(t, points, steady, pulls)


@kernel
@no_type_check
def _robust(square, outlier):
    """Geman-McClure: as given while small, never above outlier^2; and its slope."""
    inverse = 1 / (1 + square / (outlier * outlier))
    return square * inverse, inverse * inverse


@kernel
@no_type_check
def _pull_projected(point, x, y, out):
    """Add the pull at a point, of that at x / z and y / z."""
    z = max(point[2], NEAREST)
    out[0] += x / z
    out[1] += y / z
    if point[2] > NEAREST:
        out[2] -= (x * point[0] + y * point[1]) / (z * z)


@kernel
@no_type_check
def _surface_cost(t, points, focal, followed, pulls):
    total, offset = 0.0, points.shape[1] - len(followed.precision)
    for m in range(len(followed.precision)):
        worth, precision = followed.worth[t, m], followed.precision[m]
        if worth == 0:
            continue
        point = points[t, offset + m]
        scale = focal * followed.long_side
        z = max(point[2], NEAREST)
        x, y = scale * point[0] / z - followed.target[t, m, 0], scale * point[1] / z - followed.target[t, m, 1]
        along_x = precision[0, 0] * x + precision[0, 1] * y
        along_y = precision[1, 0] * x + precision[1, 1] * y
        value, slope = _robust(x * along_x + y * along_y, followed.outlier)
        total += worth * value
        strength = 2 * worth * slope * scale
        _pull_projected(point, strength * along_x, strength * along_y, pulls[t, offset + m])
    return total


@kernel
@no_type_check
def _bent(t, points, steady, pulls):
    total = 0.0
    for middle in range(max(t - 1, 1), min(t + 2, len(points) - 1)):
        if not steady.middle[middle]:
            continue
        sign = -2.0 if middle == t else 1.0
        for k in range(len(steady.worth)):
            for i in range(3):
                bend = points[middle - 1, k, i] - 2 * points[middle, k, i] + points[middle + 1, k, i]
                pulls[t, k, i] += 2 * steady.worth[k] * sign * bend
                if middle == t:
                    total += steady.worth[k] * bend * bend
    return total


@kernel
@no_type_check
def pull_back(part, parts, rotvecs, rest, rig, posed, pulls, at_turns, at_rest, at_places):
    """Pulls at the points (T, P, 3), as pulls at what `pose` was given."""
    joints = len(rig.parents)
    turned, moved, own = np.empty((joints, 3, 3)), np.empty((joints, 3)), np.empty((3, 3))
    for t in range(part, len(rotvecs), parts):
        world = posed.world[t]
        turned[:], moved[:], at_rest[t] = 0.0, 0.0, 0.0
        for i in range(3):
            at_places[t, i] = pulls[t, :, i].sum()
            moved[rig.neck, i] -= FLIP[i] * pulls[t, :, i].sum()
        for c in range(len(rig.point)):
            for n in range(rig.first[c], rig.first[c + 1]):
                j, weight = rig.joints[n], rig.weights[n] * rig.share[c]
                for i in range(3):
                    pull = weight * FLIP[i] * pulls[t, rig.point[c], i]
                    moved[j, i] += pull
                    for k in range(3):
                        turned[j, i, k] += pull * (np.float64(rest[t, c, k]) - rest[t, j, k])
                        at_rest[t, c, k] += pull * world[j, i, k]
                        at_rest[t, j, k] -= pull * world[j, i, k]
        for j in range(joints - 1, -1, -1):
            p = rig.parents[j]
            if p < 0:
                own[:] = turned[j]
                for i in range(3):
                    at_rest[t, j, i] += moved[j, i]
            else:
                _pull_child(j, p, rest[t], posed.local[t], world, turned, moved, own, at_rest[t])
            _pull_turn(rotvecs[t, j], own, at_turns[t, j])


@kernel
@no_type_check
def _pull_child(j, p, rest, local, world, turned, moved, own, at_rest):
    """From a joint to its parent; `own` is the pull at the joint's own turn."""
    for i in range(3):
        moved[p, i] += moved[j, i]
        for k in range(3):
            turned[p, i, k] += moved[j, i] * (np.float64(rest[j, k]) - rest[p, k])
            at_rest[j, k] += world[p, i, k] * moved[j, i]
            at_rest[p, k] -= world[p, i, k] * moved[j, i]
            own[i, k] = 0.0
            for m in range(3):
                turned[p, i, k] += turned[j, i, m] * local[j, k, m]
                own[i, k] += world[p, m, i] * turned[j, m, k]
