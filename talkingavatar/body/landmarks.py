"""Named points on the MakeHuman base mesh: 68 face landmarks, lip rings, smplx's 21 vertex-picked joints.

All were chosen by eye on the mesh of the mean adult; ids are MakeHuman's. Only the middle and the person's
left side are listed, the right side is their mirror image by the table that comes with the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int

from talkingavatar.body.base_faces import BodyFaces
from talkingavatar.body.makehuman import data_folder

# The 68-point (iBUG) order runs from the person's right to left; keys are the person's middle and left.
_MIDDLE_AND_LEFT = {
    8: 5225, 9: 11899, 10: 7619, 11: 7594, 12: 7596, 13: 7614, 14: 7574, 15: 7573, 16: 7575,  # jaw line
    22: 6983, 23: 6980, 24: 6979, 25: 6981, 26: 6982,  # brow: the mesh has none, this is the orbital ridge
    27: 133, 28: 131, 29: 164, 30: 5054, 33: 343, 34: 7054, 35: 7119,  # nose
    42: 6851, 43: 11483, 44: 11466, 45: 11472, 46: 6825, 47: 6831,  # eye
    51: 455, 52: 7210, 53: 7170, 54: 7185, 55: 7166, 56: 7241, 57: 492,  # border of the red of the lips
    62: 474, 63: 7226, 64: 10401, 65: 7236, 66: 493,  # where the lips meet
}  # fmt: skip
_RIGHT_TO_LEFT = (
    {i: 16 - i for i in range(8)}
    | {i: 43 - i for i in range(17, 22)}
    | {31: 35, 32: 34, 36: 45, 37: 44, 38: 43, 39: 42, 40: 47, 41: 46}
    | {48: 54, 49: 53, 50: 52, 58: 56, 59: 55, 60: 64, 61: 63, 67: 65}
)
MIRRORED = [_RIGHT_TO_LEFT.get(i, {v: k for k, v in _RIGHT_TO_LEFT.items()}.get(i, i)) for i in range(68)]

# From the middle to the person's left corner; made whole they run from the right corner to the left one.
_HALF_RINGS = {
    "lip_outer_upper": [455, 7214, 7210, 7215, 7169, 11956, 7170, 7171, 7168, 7167, 7185],
    "lip_outer_lower": [492, 7241, 7235, 7166, 7165, 7164, 7185],
    "lip_inner_upper": [474, 7229, 7228, 7227, 7226, 11964, 7225, 7177, 7176, 10401],
    "lip_inner_lower": [493, 7242, 7236, 7230, 7197, 7204, 10401],
}
_NOSE, _LEFT_EYE, _LEFT_EAR = 5054, 14607, 12131
_LEFT_FOOT = [12756, 13285, 12453]  # big toe, small toe, heel
_LEFT_TIPS = [9348, 8595, 8813, 8979, 9171]  # thumb to little finger


@dataclass(frozen=True)
class Embedding:
    """Points as barycentric coordinates on faces."""

    faces: Int[np.ndarray, " L"]
    bary: Float[np.ndarray, "L 3"]


def embed(faces: BodyFaces) -> Embedding:
    """The 68 landmarks on the body's faces; each sits on a vertex, so one coordinate is 1."""
    mirror = _mirror_table()
    base_ids = [
        _MIDDLE_AND_LEFT[i] if i in _MIDDLE_AND_LEFT else mirror[_MIDDLE_AND_LEFT[_RIGHT_TO_LEFT[i]]] for i in range(68)
    ]
    vertices = faces.local(np.array(base_ids))
    chosen = np.array([np.flatnonzero((faces.triangles == v).any(1))[0] for v in vertices])
    return Embedding(chosen, (faces.triangles[chosen] == vertices[:, None]).astype(float))


def lip_rings(faces: BodyFaces) -> dict[str, Int[np.ndarray, " _"]]:
    """Ordered body vertices from the person's right corner of the mouth to the left one."""
    mirror = _mirror_table()
    return {
        name: faces.local(np.array([*(mirror[v] for v in half[:0:-1]), *half])) for name, half in _HALF_RINGS.items()
    }


def vertex_joints(faces: BodyFaces) -> Int[np.ndarray, " 21"]:
    """Body vertices of the 21 joints smplx appends, in its order: nose, eyes, ears, feet, finger tips."""
    mirror = _mirror_table()
    ids = [_NOSE, mirror[_LEFT_EYE], _LEFT_EYE, mirror[_LEFT_EAR], _LEFT_EAR]
    ids += [*_LEFT_FOOT, *(mirror[v] for v in _LEFT_FOOT), *_LEFT_TIPS, *(mirror[v] for v in _LEFT_TIPS)]
    return faces.local(np.array(ids))


@cache
def _mirror_table() -> dict[int, int]:
    lines = (data_folder() / "mpfb2/mesh_metadata/hm08.mirror").read_text().splitlines()
    return {int(a): int(b) for a, b, _ in map(str.split, lines)}
