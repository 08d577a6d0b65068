"""Published pose arrays of any layout as axis-angle joints in the smplx package's order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.unpickle import read_arrays
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import matrix_to_quat
from talkingavatar.geometry.slerp import quat_to_axis_angle

# Keys in the order of `full_pose`, with how many joints each holds.
SMPLX_PARTS = {
    "global_orient": 1, "body_pose": 21, "jaw_pose": 1, "leye_pose": 1, "reye_pose": 1,
    "left_hand_pose": 15, "right_hand_pose": 15,
}  # fmt: skip
PCA = 12  # components of a hand, as SHOW fits it


def axis_angles(values: ndarray, joints: int, name: str) -> Float[ndarray, "T J 3"]:
    """Flat or per-joint axis-angle, or rotation matrices, decided by size; axes of length one do not matter.

    Raises:
        UserError: another size.
    """
    frames = len(values)
    size = values[0].size if frames else 0
    if size == 3 * joints:
        return values.reshape(frames, joints, 3).astype(np.float64)
    if size == 9 * joints:
        matrices = torch.from_numpy(values.reshape(frames, joints, 3, 3).astype(np.float64))
        return quat_to_axis_angle(matrix_to_quat(matrices)).numpy()
    expected = f"{3 * joints} (axis-angle) or {9 * joints} (matrices) numbers a frame"
    raise UserError(name, f"an array of shape {values.shape}", expected, "give another file")


def smplx_full_pose(arrays: Mapping[str, ndarray], body: Path | None, source: str) -> Float[ndarray, "T 55 3"]:
    """All joints from the published parts.

    Args:
        body: SMPL-X model file, whose hand components turn 12 numbers a hand into 15 joints.

    Raises:
        UserError: a part is missing or of another size, or hands need the model file.
    """
    parts = []
    for key, joints in SMPLX_PARTS.items():
        found = next((name for name in (key, f"{key}_axis") if name in arrays), None)
        if found is None:
            raise UserError(source, f"no {key}", f"{', '.join(SMPLX_PARTS)}", "give another file")
        values = np.asarray(arrays[found])
        if values.dtype.kind not in "fiu" or not values.ndim or not values.size:
            wrong = f"values of type {values.dtype}, shape {values.shape}"
            raise UserError(f"{source}:{key}", wrong, "numbers of every frame", "give another file")
        if "hand" in key and values[0].size == PCA:
            values = _hand_from_components(values.reshape(len(values), PCA), key, body, source)
        parts.append(axis_angles(values, joints, f"{source}:{key}"))
    shortest = min(len(part) for part in parts)
    return np.concatenate([part[:shortest] for part in parts], 1)


def _hand_from_components(
    values: Float[ndarray, "T 12"], key: str, body: Path | None, source: str
) -> Float[ndarray, "T 45"]:
    """Sum of the model's first components round its mean hand, as smplx with use_pca and its own mean."""
    if body is None:
        expected = "the SMPL-X model file, which holds those components"
        raise UserError("body", f"nothing, but {source} has hands of {PCA} components", expected, "give body=<file>")
    if not body.is_file():
        raise UserError("body", f"{body}: no such file", "an SMPL-X model file", "correct the path")
    model, side = read_arrays(body), key[0]
    try:
        components, mean = model[f"hands_components{side}"], model[f"hands_mean{side}"]
    except KeyError as error:
        raise UserError("body", f"{body} without {error}", "an SMPL-X model file", "give another file") from error
    return values @ np.asarray(components)[:PCA] + np.asarray(mean)
