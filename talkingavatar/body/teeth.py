"""Teeth for the licensed models, which have none: two bent strips behind the lips, after GaussianAvatars.

Source: methods A.6. 120 vertices, 168 faces; the upper row follows the head, the lower one the jaw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

POINTS = 15  # per row
# Order of the vertices, as in GaussianAvatars: the front rows, then their copies behind.
_ROWS = ("upper_root", "lower_root", "upper_edge", "lower_edge")
_BACK_ROWS = ("upper_root", "upper_edge", "lower_root", "lower_edge")


def add_teeth(
    arrays: dict[str, Any],
    upper_lip: Int[np.ndarray, " 15"],
    lower_lip: Int[np.ndarray, " 15"],
    upper_joint: int,
    lower_joint: int,
    shape_columns: int,
) -> dict[str, Any]:
    """The arrays of a SMPL-X or FLAME file with teeth appended as the last 120 vertices and 168 faces.

    Args:
        arrays: as published.
        upper_lip, lower_lip: outer lip rings, ordered alike from one corner of the mouth to the other.
        upper_joint, lower_joint: joints that carry the rows.
        shape_columns: how many columns of `shapedirs` are shape; expressions do not move teeth.
    """
    template = arrays["v_template"]
    first, joint_count = len(template), arrays["weights"].shape[1]
    rings = np.concatenate([upper_lip, lower_lip])
    lip_dirs = (arrays["shapedirs"][upper_lip] + arrays["shapedirs"][lower_lip]) / 2
    lip_dirs[..., shape_columns:] = 0
    weights = np.zeros((8 * POINTS, joint_count), arrays["weights"].dtype)
    weights[upper_vertices(), upper_joint] = 1
    weights[lower_vertices(), lower_joint] = 1
    rightwards = template[upper_lip[-1], 0] > template[upper_lip[0], 0]
    new = {
        "v_template": _vertices(template[rings]),
        "shapedirs": np.tile(lip_dirs, (8, 1, 1)),
        "posedirs": np.zeros((8 * POINTS, *arrays["posedirs"].shape[1:]), arrays["posedirs"].dtype),
        "weights": weights,
        "f": (_faces(bool(rightwards)) + first).astype(arrays["f"].dtype),
    }
    grown = {key: np.concatenate([arrays[key], value]) for key, value in new.items()}
    grown["J_regressor"] = np.pad(arrays["J_regressor"], ((0, 0), (0, 8 * POINTS)))
    return arrays | grown


def upper_vertices() -> Int[np.ndarray, " 60"]:
    """The upper row's vertices, counted from the first tooth vertex."""
    return np.concatenate([_row("upper_root"), _row("upper_edge"), _row("upper_root", True), _row("upper_edge", True)])


def lower_vertices() -> Int[np.ndarray, " 60"]:
    return np.setdiff1d(np.arange(8 * POINTS), upper_vertices())


def _row(name: str, back: bool = False) -> Int[np.ndarray, " 15"]:
    position = 4 + _BACK_ROWS.index(name) if back else _ROWS.index(name)
    return position * POINTS + np.arange(POINTS)


def _vertices(rings: Float[np.ndarray, "30 3"]) -> Float[np.ndarray, "120 3"]:
    upper, lower = rings[:POINTS], rings[POINTS:]
    gap = np.linalg.norm(upper - lower, axis=1).mean()
    middle = (upper + lower) / 2
    middle[:, 1] = middle[:, 1].mean()
    middle[:, 2] -= 1.5 * gap
    y, z = np.array([0, gap, 0]), np.array([0, 0, gap])
    row = {"upper_edge": middle + 0.1 * y, "lower_edge": middle - 0.1 * y - 0.4 * z}
    row["upper_root"] = row["upper_edge"] + 2 * y
    row["lower_root"] = row["lower_edge"] - 2 * y
    return np.concatenate([row[n] for n in _ROWS] + [row[n] - z for n in _BACK_ROWS]).astype(rings.dtype)


def _faces(rightwards: bool) -> Int[np.ndarray, "168 3"]:
    """Front, biting edge and back of both rows, normals outwards; `rightwards`: rings run towards +x."""
    strips = [
        (_row("upper_edge"), _row("upper_root")),
        (_row("upper_edge", True), _row("upper_edge")),
        (_row("upper_root", True), _row("upper_edge", True)),
        (_row("lower_root"), _row("lower_edge")),
        (_row("lower_edge"), _row("lower_edge", True)),
        (_row("lower_edge", True), _row("lower_root", True)),
    ]
    quads = np.concatenate([np.stack([a[:-1], a[1:], b[1:], b[:-1]], 1) for a, b in strips])
    triangles = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    return triangles if rightwards else triangles[:, ::-1]
