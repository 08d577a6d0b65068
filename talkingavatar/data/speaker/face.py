"""Where things are on the canonical face: named points and soft regions, all in the mean template's T-pose.

Regions are functions of position on the person's left half (mirror points first), in metres relative to
MakeHuman vertices, so that they follow the template if it changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from talkingavatar.data.speaker.texture import ball, bump, ramp

_POINTS = {
    "nose": 5054, "chin": 5225, "bridge": 133, "subnasal": 343, "wing": 7119, "corner": 7185, "seam": 474,
    "eye_inner": 6851, "eye_outer": 11472, "brow_inner": 6983, "brow_middle": 6979, "brow_outer": 6982,
    "ear": 12131,
}  # fmt: skip
_UPPER_LIP = [
    455,
    7214,
    7210,
    7215,
    7169,
    11956,
    7170,
    7171,
    7168,
    7167,
    7185,
]  # border of the red, left half
_LOWER_LIP = [492, 7241, 7235, 7166, 7165, 7164, 7185]
_LID_UPPER = [6851, 11483, 11466, 11472]
_LID_LOWER = [6851, 6831, 6825, 11472]
_FINGER_TIPS = [9348, 8595, 8813, 8979, 9171]

Field = Float[np.ndarray, "*s"]
Places = Float[np.ndarray, "*s 3"]


@dataclass(frozen=True)
class Face:
    """Named points of the left half and the curves of lips and lids."""

    points: dict[str, Float[np.ndarray, "3"]]
    upper_lip: Float[np.ndarray, "n 3"]
    lower_lip: Float[np.ndarray, "m 3"]
    lid_upper: Float[np.ndarray, "4 3"]
    lid_lower: Float[np.ndarray, "4 3"]
    finger_tips: Float[np.ndarray, "5 3"]
    eye: Float[np.ndarray, "3"]  # centre of the left eyeball

    def __getitem__(self, name: str) -> Float[np.ndarray, "3"]:
        return self.points[name]

    def at(self, name: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Float[np.ndarray, "3"]:
        """A place relative to a named point, metres."""
        return self.points[name] + np.array([x, y, z])


def read_face(vertices: Float[np.ndarray, "V 3"], eye: Float[np.ndarray, "3"]) -> Face:
    v = vertices.astype(np.float64)
    return Face(
        {name: v[i] for name, i in _POINTS.items()},
        v[_UPPER_LIP],
        v[_LOWER_LIP],
        v[_LID_UPPER],
        v[_LID_LOWER],
        v[_FINGER_TIPS],
        eye.astype(np.float64),
    )


def lips(face: Face, q: Places) -> Field:
    """The red of the lips, outside and a little way in."""
    x, y, z = q[..., 0], q[..., 1], q[..., 2]
    top = np.interp(x, face.upper_lip[:, 0], face.upper_lip[:, 1])
    low = np.interp(x, face.lower_lip[:, 0], face.lower_lip[:, 1])
    edge = np.minimum(top - y, y - low)
    corner = face["corner"]
    return (
        ramp(-0.0008, 0.0012, edge)
        * ramp(corner[0] + 0.001, corner[0] - 0.003, x)
        * ramp(corner[2] - 0.02, corner[2] - 0.01, z)
    )


def lip_seam(face: Face, q: Places) -> Field:
    """The line where the lips meet."""
    height = face["seam"][1] + (face["corner"][1] - face["seam"][1]) * (q[..., 0] / face["corner"][0]) ** 2
    return bump(q[..., 1] - height, 0, 0.0016) * lips(face, q)


def brow(face: Face, q: Places, weight: float) -> tuple[Field, Field]:
    """Density of the eyebrow, and how far along it one is (0 inner, 1 outer)."""
    inner, middle, outer = (face[f"brow_{n}"] for n in ("inner", "middle", "outer"))
    s = (q[..., 0] - inner[0] + 0.003) / (outer[0] + 0.004 - inner[0] + 0.003)
    line = np.interp(
        s, [0, 0.3, 0.62, 1], [inner[1] + 0.0005, inner[1] + 0.0030, middle[1] + 0.0050, outer[1] + 0.0005]
    )
    half = weight * np.interp(s, [0, 0.12, 0.5, 1], [0.0034, 0.0043, 0.0036, 0.0012])
    inside = ramp(1.25, 0.45, np.abs(q[..., 1] - line) / half)
    ends = ramp(-0.04, 0.12, s) * ramp(1.06, 0.85, s) * ramp(face["ear"][2], face["ear"][2] + 0.03, q[..., 2])
    return inside * ends, s


def lash_line(face: Face, q: Places) -> Field:
    """The rims of the lids."""
    x, y = q[..., 0], q[..., 1]
    top = np.interp(x, face.lid_upper[:, 0], face.lid_upper[:, 1])
    low = np.interp(x, face.lid_lower[:, 0], face.lid_lower[:, 1])
    span = ramp(-0.001, 0.002, x - face["eye_inner"][0]) * ramp(0.003, 0.0, x - face["eye_outer"][0])
    front = ramp(face.eye[2], face.eye[2] + 0.008, q[..., 2])
    return span * front * np.maximum(bump(y - top, 0, 0.0013), 0.5 * bump(y - low, 0, 0.001))


def ear(face: Face, q: Places) -> Field:
    return ball(q, face.at("ear", 0.006, 0.006, -0.002), (0.016, 0.036, 0.024))


def scalp(face: Face, q: Places) -> Field:
    """Where hair grows on the head: above 0.5."""
    brow_y, z0 = face["brow_middle"][1], face["ear"][2]
    # How far forward hair reaches at each height: nape, behind the ear, sideburn, temple, forehead.
    height = np.array([-0.090, -0.070, -0.048, -0.036, -0.022, 0.012, 0.034, 0.044, 0.051, 0.056])
    reach = np.array([-0.20, -0.065, -0.028, -0.016, 0.018, 0.027, 0.036, 0.060, 0.085, 0.150])
    limit = np.interp(q[..., 1] - brow_y, height, reach)
    return ramp(0.006, -0.006, q[..., 2] - z0 - limit) * (ear(face, q) < 0.30)


def beard(face: Face, q: Places) -> Field:
    """Where a beard grows: jaw, chin, moustache."""
    x, y, z = q[..., 0], q[..., 1], q[..., 2]
    corner, chin, nose = face["corner"], face["chin"], face["subnasal"]
    top = np.interp(
        x, [0, 0.008, 0.026, 0.036, 0.052, 0.066],
        [-0.018, -0.017, 0.004, 0.008, 0.020, 0.050],
    ) + corner[1]  # fmt: skip
    jaw = ramp(0.003, -0.005, y - top) * ramp(chin[1] - 0.030, chin[1] - 0.012, y)
    jaw *= ramp(face["ear"][2] + 0.008, face["ear"][2] + 0.020, z)
    lip_top = np.interp(x, face.upper_lip[:, 0], face.upper_lip[:, 1])
    lip_top = np.minimum(lip_top, corner[1] + 0.012)
    brim = np.interp(x, [0, 0.010, 0.024, 0.034, 0.042], [-0.001, -0.002, -0.007, -0.018, -0.034]) + nose[1]
    moustache = ramp(-0.0005, 0.0015, y - lip_top) * ramp(0.001, -0.003, y - brim)
    moustache *= ramp(corner[2] - 0.012, corner[2] - 0.004, z) * (0.6 + 0.4 * ramp(0.0, 0.004, x))
    return np.maximum(jaw, moustache) * (1 - lips(face, q))


def cheek(face: Face, q: Places) -> Field:
    return ball(q, face.at("wing", 0.028, 0.008, -0.03), (0.020, 0.018, 0.03))
