"""Tables of a capture: npz files whose rows are frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.data.capture.manifest import AGAIN
from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import check_array, read_npz

PARAMETERS = ("betas", "expression", "full_pose", "transl")
REGIONS = ("head", "mouth", "left_hand", "right_hand")
OFFSETS = 137  # keypoints of a body (`body.keypoints`)


@dataclass(frozen=True)
class Table:
    """Named values of every frame: facial actions, an emotion, a motion's latent."""

    names: list[str]
    values: Float[ndarray, "T A"]
    scale: float = 1.0  # the value that says "fully": 1, or 5 of OpenFace's intensities

    def save(self, file: Path) -> None:
        np.savez(file, allow_pickle=False, names=np.array(self.names), values=self.values, scale=self.scale)


def read_table(file: Path, frames: int) -> Table:
    """
    Raises:
        UserError: it is missing or damaged, or has other than a row a frame, a name a column, and finite numbers.
    """
    arrays = read_npz(file, ("names", "values", "scale"), AGAIN)
    names, values, scale = arrays["names"], arrays["values"], arrays["scale"]
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise UserError(f"{file}:names", f"{names.dtype} of shape {names.shape}", "a list of names", AGAIN)
    if values.shape != (frames, len(names)):
        raise UserError(f"{file}:values", f"{values.shape}", f"{frames} frames of {len(names)} names", AGAIN)
    check_array(f"{file}:values", values, values.shape, AGAIN)
    check_array(f"{file}:scale", scale, (), AGAIN)
    if scale <= 0:
        raise UserError(f"{file}:scale", f"{float(scale):g}", "the value of the strongest, above 0", AGAIN)
    return Table(names.astype(str).tolist(), values.astype(np.float32), float(scale))


def read_parameters(file: Path, frames: int, joints: int) -> dict[str, ndarray]:
    """A body's table: every part finite, as long as the video, and with the joints of its model.

    Raises:
        UserError: otherwise.
    """
    table = read_npz(file, (*PARAMETERS, "expression_names"), AGAIN)
    shapes: dict[str, tuple[int | str, ...]] = {
        "betas": ("S",),
        "expression": (frames, "E"),
        "full_pose": (frames, joints, 3),
        "transl": (frames, 3),
    }
    for key, shape in shapes.items():
        check_array(f"{file}:{key}", table[key], shape, AGAIN)
    names, count = table["expression_names"], table["expression"].shape[1]
    if names.shape != (count,):
        raise UserError(f"{file}:expression_names", f"{names.size} names", f"{count}, one a column", AGAIN)
    if "keypoint_offsets" in table:
        check_array(f"{file}:keypoint_offsets", table["keypoint_offsets"], (OFFSETS, 3), AGAIN)
    return table


def read_boxes(file: Path, frames: int) -> dict[str, ndarray]:
    """Boxes (T,4) of each of `REGIONS`; NaN where unseen.

    Raises:
        UserError: otherwise.
    """
    boxes = read_npz(file, REGIONS, AGAIN)
    for name in REGIONS:
        check_array(f"{file}:{name}", boxes[name], (frames, 4), AGAIN, finite=False)
        if np.isinf(boxes[name]).any():
            raise UserError(f"{file}:{name}", "infinity", "pixels, or NaN where unseen", AGAIN)
    return boxes


def read_cameras(file: Path, views: int, frames: int) -> tuple[Float[ndarray, "V T 4 4"], Float[ndarray, "V T 3 3"]]:
    """World to camera and intrinsics of every view, once or in each frame.

    Raises:
        UserError: otherwise; or a matrix is no camera's.
    """
    arrays, found = read_npz(file, ("viewmats", "Ks"), AGAIN), {}
    for name, side in (("viewmats", 4), ("Ks", 3)):
        values = arrays[name]
        if values.shape not in {(views, count, side, side) for count in (1, frames)}:
            expected = f"{views} views, 1 or {frames} frames, {side}, {side}"
            raise UserError(f"{file}:{name}", f"{values.shape}", expected, AGAIN)
        check_array(f"{file}:{name}", values, values.shape, AGAIN)
        found[name] = np.broadcast_to(values, (views, frames, side, side))
    viewmats, Ks = found["viewmats"], found["Ks"]
    if not np.allclose(viewmats[..., 3, :], (0, 0, 0, 1)) or (np.linalg.det(viewmats[..., :3, :3]) <= 1e-6).any():
        raise UserError(f"{file}:viewmats", "a matrix that turns and moves nothing so",
                        "world to camera, the last row 0 0 0 1", AGAIN)  # fmt: skip
    if (Ks[..., (0, 1), (0, 1)] <= 0).any() or not np.allclose(Ks[..., 2, :], (0, 0, 1)):
        raise UserError(f"{file}:Ks", "a matrix without focal lengths", "fx 0 cx, 0 fy cy, 0 0 1 in pixels", AGAIN)
    return viewmats, Ks


def read_landmarks(file: Path, frames: int) -> Float[ndarray, "T 68 3"]:
    """
    Raises:
        UserError: not 68 points a frame.
    """
    points = read_npz(file, ("points",), AGAIN)["points"]
    check_array(f"{file}:points", points, (frames, 68, 3), AGAIN, finite=False)
    return points
