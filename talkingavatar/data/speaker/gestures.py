"""Arms and hands of the speaker: anatomical angles, and the beat gestures that go with stressed words.

An arm is thirteen angles (`ARM`), the same numbers for left and right; the right arm mirrors the left one.
SMPL-X at rest: arms along the x axis (left towards +x), palms down, the person facing +z with y up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

ARM = (
    "abduct",  # upper arm away from the side, from hanging; radians, as all here
    "flex",  # upper arm forwards
    "twist",  # upper arm about its own axis; positive brings the bent forearm towards the middle
    "elbow",  # bend, 0 is straight
    "pronate",  # palm towards the middle at 0, down at +pi/2, up at -pi/2
    "wrist_flex",  # towards the palm
    "wrist_side",  # towards the little finger
    "index", "middle", "ring", "pinky",  # curl of each of a finger's three joints
    "thumb",  # curl of the thumb's last two joints
    "spread",  # between neighbouring fingers
)  # fmt: skip
SHOULDER, ELBOW, WRIST = (16, 17), (18, 19), (20, 21)  # SMPL-X joints, left and right
FINGERS = {
    "index": 25,
    "middle": 28,
    "pinky": 31,
    "ring": 34,
    "thumb": 37,
}  # first joints, left; right is 15 further
SPREAD = {"index": 1.2, "middle": 0.2, "ring": -0.6, "pinky": -1.5}


def arm(**degrees: int) -> Float[ndarray, "13"]:
    """An arm from its named angles in degrees; unnamed ones are 0."""
    angles = np.zeros(len(ARM))
    for name, value in degrees.items():
        angles[ARM.index(name)] = np.deg2rad(value)
    return angles


def pose_arms(full_pose: Float[ndarray, "T 55 3"], arms: Float[ndarray, "T 2 13"]) -> None:
    """Write the arms' joints (left, right) into `full_pose`, axis-angle in SMPL-X's joint order."""
    for side in (0, 1):
        mirror = np.array([1.0, -1.0, -1.0]) if side else np.ones(3)  # the reflection x -> -x of a rotation vector
        for joint, rotation in _left_joints(arms[:, side]).items():
            right = joint + 1 if joint < 25 else joint + 15
            full_pose[:, right if side else joint] = rotation.as_rotvec() * mirror


def _left_joints(angles: Float[ndarray, "T 13"]) -> dict[int, Rotation]:
    a = dict(zip(ARM, angles.T, strict=True))
    x, y, z = (lambda angle, axis=axis: Rotation.from_rotvec(angle[:, None] * axis) for axis in np.eye(3))
    joints = {
        SHOULDER[0]: x(-a["flex"]) * z(a["abduct"] - np.pi / 2) * x(a["twist"]),
        ELBOW[0]: y(-a["elbow"]) * x(0.5 * a["pronate"]),  # the forearm's twist is shared by its two ends
        WRIST[0]: x(0.5 * a["pronate"]) * z(-a["wrist_flex"]) * y(a["wrist_side"]),
    }
    for finger, first in FINGERS.items():
        if finger == "thumb":
            joints |= {first: y(0.5 * a["thumb"]), first + 1: y(a["thumb"]), first + 2: y(a["thumb"])}
        else:
            joints[first] = y(-SPREAD[finger] * a["spread"]) * z(-a[finger])
            joints |= {first + 1: z(-1.1 * a[finger]), first + 2: z(-0.7 * a[finger])}
    return joints


_HALF = {"index": 15, "middle": 20, "ring": 25, "pinky": 25, "thumb": 10, "spread": 3}
_OPEN = {"index": 6, "middle": 8, "ring": 10, "pinky": 10, "thumb": 0, "spread": 8}
_CLOSED = {"index": 30, "middle": 38, "ring": 45, "pinky": 48, "thumb": 25, "spread": 0}
RESTING = arm(abduct=18, flex=5, twist=20, elbow=88, pronate=40, wrist_flex=5, **_HALF)
# Where a stroke lands. Looked at on the open rig: hands in front of the body, nothing touches.
STROKES = {
    "ball": arm(abduct=21, flex=10, twist=18, elbow=108, pronate=15, **{**_HALF, "thumb": 0}),
    "open": arm(abduct=18, flex=3, twist=-12, elbow=100, pronate=-50, wrist_flex=-8, **_OPEN),
    "offer": arm(abduct=17, flex=10, twist=15, elbow=90, pronate=-35, wrist_flex=-5, **_OPEN),
    "frame": arm(abduct=20, flex=8, twist=8, elbow=106, pronate=5, **{**_OPEN, "spread": 4}),
    "press": arm(abduct=20, flex=9, twist=16, elbow=94, pronate=70, wrist_flex=-15, **_OPEN),
    "precise": arm(abduct=20, flex=10, twist=14, elbow=112, pronate=30, wrist_flex=8, **_CLOSED),
}
# Beaten from above: the raised arm minus the landed one, at full strength.
LIFT = arm(flex=5, elbow=14, wrist_flex=-14, index=-6, middle=-6, ring=-6, pinky=-6)
HOLD, PREPARE, RETRACT = 0.14, 0.24, 0.75  # seconds: after a stroke, before it, back to rest
RETURN_AFTER = 1.5  # hands go back to rest when the next stroke is further away, seconds
INERTIA = 0.05  # standard deviation of the smoothing that stands for the mass of an arm, seconds


def beat_gestures(
    beats: Sequence[tuple[float, float]],
    times: Float[ndarray, " T"],
    rng: np.random.Generator,
    amplitude: float = 1.0,
) -> Float[ndarray, "T 2 13"]:
    """Both arms over time: strokes that land on the beats, holds, and rests between phrases.

    Args:
        beats: (seconds, strength in [0, 1]) in order, at least 0.6 s apart.
        times: seconds, evenly spaced.
        amplitude: of the strokes; 1 is ordinary.
    """
    keys = [(times[0] - 1.0, _both(RESTING, rng))]
    names = sorted(STROKES)
    name = names[rng.integers(len(names))]
    hands = np.ones((2, 1))
    for i, (beat, strength) in enumerate(beats):
        if keys[-1][0] < beat - RETURN_AFTER or rng.random() < 0.6:  # else the same gesture beats again
            name = names[(names.index(name) + rng.integers(1, len(names))) % len(names)]
            one_handed = rng.random() < 0.25
            hands = np.roll([[1.0], [0.15]], rng.integers(2), axis=0) if one_handed else np.ones((2, 1))
        target = RESTING + hands * (_both(STROKES[name], rng) - RESTING)
        lift = amplitude * (0.4 + 0.6 * strength) * hands * LIFT
        keys += [(beat - PREPARE, target + 0.6 * lift), (beat, target - 0.4 * lift)]
        keys.append((beat + HOLD, target - 0.3 * lift))
        following = beats[i + 1][0] if i + 1 < len(beats) else np.inf
        if following - beat > RETURN_AFTER:
            keys.append((beat + HOLD + RETRACT, _both(RESTING, rng)))
    keys.append((max(times[-1], keys[-1][0]) + 1.0, keys[-1][1]))
    at, poses = zip(*keys, strict=True)
    arms = PchipInterpolator(np.array(at), np.stack(poses))(times)
    return gaussian_filter1d(arms, INERTIA / (times[1] - times[0]), axis=0, mode="nearest")


def _both(pose: Float[ndarray, "13"], rng: np.random.Generator) -> Float[ndarray, "2 13"]:
    """The pose for both arms, never twice the same: a few degrees of chance, more in the hands."""
    spread = np.deg2rad([2, 3, 3, 5, 8, 5, 4, 8, 8, 8, 8, 5, 2])
    return pose + spread * rng.uniform(-1, 1, (2, len(ARM)))
