"""Per-frame FLAME parameters, in the names that GaussianAvatars and VHAP give them or RenderMe-360's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.errors import UserError

# Our part: what datasets call it. The five joints come in smplx's order.
NAMES = {
    "betas": ("shape",),
    "expression": ("expr", "exp"),
    "rotation": ("rotation", "global_pose"),
    "neck": ("neck_pose",),
    "jaw": ("jaw_pose",),
    "transl": ("translation", "trans"),
}
EYES = ("eyes_pose",), ("left_eye_pose", "right_eye_pose")  # six numbers, or three and three


def flame_table(
    frames: Sequence[Mapping[str, ndarray]], source: str, canonical: Mapping[str, ndarray] | None = None
) -> dict[str, ndarray]:
    """One table of T frames: betas (S), expression (T,E), full_pose (T,5,3), transl (T,3), as published.

    Args:
        frames: the parameters of each frame; a leading axis of length one does not matter.
        canonical: whose shape (and offsets) count where it is given; else the first frame's.

    Raises:
        UserError: a part is missing or frames differ in size.
    """
    shape_from = frames[0] if canonical is None else canonical
    rows = {part: np.stack([_part(frame, names, source) for frame in frames]) for part, names in NAMES.items()}
    eyes = np.stack([_eyes(frame, source) for frame in frames])
    joints = [rows["rotation"], rows["neck"], rows["jaw"], eyes[:, :3], eyes[:, 3:]]
    table = {
        "betas": _part(shape_from, NAMES["betas"], source),
        "expression": rows["expression"],
        "full_pose": np.stack(joints, 1),
        "transl": rows["transl"],
    }
    if "static_offset" in shape_from:
        table["static_offset"] = np.asarray(shape_from["static_offset"]).reshape(-1, 3)
    return table


def _part(frame: Mapping[str, ndarray], names: tuple[str, ...], source: str) -> Float[ndarray, " n"]:
    for name in names:
        if name in frame:
            return np.asarray(frame[name], np.float64).reshape(-1)
    raise UserError(source, f"no {' or '.join(names)}", "FLAME parameters", "complete the dataset")


def _eyes(frame: Mapping[str, ndarray], source: str) -> Float[ndarray, " 6"]:
    if any(name in frame for name in EYES[0]):
        return _part(frame, EYES[0], source)
    return np.concatenate([_part(frame, (name,), source) for name in EYES[1]])
