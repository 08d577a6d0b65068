"""The licensed models: found, read, checked, given teeth and named parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from talkingavatar.body import assets, teeth
from talkingavatar.body.parts import REGION_NAMES, Parts
from talkingavatar.body.unpickle import read_arrays
from talkingavatar.errors import UserError
from talkingavatar.paths import user_path

Kind = Literal["smplx", "flame"]
# Outer lip rings in FLAME's numbering, from the person's left corner to the right one (GaussianAvatars, A.6).
_FLAME_UPPER_LIP = np.array([1713, 1715, 1716, 1735, 1696, 1694, 1657, 3543, 2774, 2811, 2813, 2850, 2833, 2832, 2830])
_FLAME_LOWER_LIP = np.array([1576, 1577, 1773, 1774, 1795, 1802, 1865, 3503, 2948, 2905, 2898, 2881, 2880, 2713, 2712])


@dataclass(frozen=True)
class _Format:
    """What a published file of one kind holds."""

    vertices: int
    faces: int
    joints: int
    teeth_joints: tuple[int, int]  # upper, lower
    eye_joints: tuple[int, int]  # left, right
    extra: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Required arrays; None where the length is free."""
        v, j = self.vertices, self.joints
        required: dict[str, tuple[int | None, ...]] = {
            "v_template": (v, 3),
            "f": (self.faces, 3),
            "weights": (v, j),
            "J_regressor": (j, v),
            "kintree_table": (2, j),
            "shapedirs": (v, 3, None),
            "posedirs": (v, 3, 9 * (j - 1)),
        }
        return required | self.extra


_HANDS = {f"hands_components{side}": (45, 45) for side in "lr"} | {f"hands_mean{side}": (45,) for side in "lr"}
_SMPLX_MARKS = {
    "lmk_faces_idx": (51,),
    "lmk_bary_coords": (51, 3),
    "dynamic_lmk_faces_idx": (79, 17),
    "dynamic_lmk_bary_coords": (79, 17, 3),
}
FORMATS: dict[Kind, _Format] = {
    "smplx": _Format(10475, 20908, 55, (15, 22), (23, 24), _HANDS | _SMPLX_MARKS),
    "flame": _Format(5023, 9976, 5, (1, 2), (3, 4)),
}


def locate(kind: Kind, path: str | Path | None, gender: str) -> Path:
    """The model file: `path` itself, inside the folder `path`, or wherever `assets` looks.

    Raises:
        UserError: there is none.
    """
    names = assets.model_file_names(kind, gender)
    if path is None:
        found = assets.find_file(names)
        looked = ", ".join(map(str, assets.search_folders()))
        missing = f"none of {', '.join(names)} in {looked}"
    else:
        given = user_path(path)
        found = given if given.is_file() else assets.find_file(names, (given,)) if given.is_dir() else None
        missing = f"{given}, which " + (f"holds none of {', '.join(names)}" if given.is_dir() else "does not exist")
    if found is None:
        raise UserError(
            "body.path",
            missing,
            f"a {gender} {kind.upper()} model file",
            "set body.path or TALKINGAVATAR_WEIGHTS to the licensed files, or use body=open",
        )
    return found


def read_model(kind: Kind, path: Path) -> dict[str, np.ndarray]:
    """The arrays of a model file, checked against the published format.

    Raises:
        UserError: the file is unreadable, of another model, or holds impossible values.
    """
    content, form = read_arrays(path), FORMATS[kind]
    expected = f"the {kind.upper()} format ({form.vertices} vertices, {form.joints} joints)"
    action = "check that body and body.path name the same model, and that the file is complete"
    arrays = {}
    for name, shape in form.shapes().items():
        if name not in content:
            raise UserError("body.path", f"{path} without the entry '{name}'", expected, action)
        arrays[name] = value = np.asarray(content[name])
        fits = value.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
        if not fits or value.dtype.kind not in "fiu":
            found = f"'{name}' of shape {value.shape} and type {value.dtype} in {path}"
            raise UserError("body.path", found, f"shape {shape} as in {expected}", action)
        if not np.isfinite(value).all():
            raise UserError("body.path", f"'{name}' with NaN or infinite values in {path}", expected, action)
    if arrays["f"].max() >= form.vertices or arrays["shapedirs"].shape[2] < 20:
        raise UserError("body.path", f"faces or shape directions that do not fit in {path}", expected, action)
    return arrays | {name: np.asarray(content[name]) for name in ("vt", "ft") if name in content}


def prepare(kind: Kind, path: Path) -> tuple[dict[str, np.ndarray], Parts]:
    """A licensed file with teeth, and its parts."""
    arrays = read_model(kind, path)
    form = FORMATS[kind]
    beside = (path.parent, *assets.search_folders())
    marks = _smplx_landmarks(arrays) if kind == "smplx" else _flame_landmarks(beside)
    correspondence = _correspondence(beside) if kind == "smplx" else np.arange(form.vertices)
    regions = _regions(kind, arrays, correspondence, marks)
    rings = regions["lip_outer_upper"], regions["lip_outer_lower"]
    grown = teeth.add_teeth(arrays, *rings, *form.teeth_joints, shape_columns(arrays))
    regions["teeth_upper"] = form.vertices + teeth.upper_vertices()
    regions["teeth_lower"] = form.vertices + teeth.lower_vertices()
    names = [f"expression_{i}" for i in range(expression_columns(arrays))]
    return grown, Parts(names, regions, marks, _uv(grown))


def shape_columns(arrays: dict[str, Any]) -> int:
    """smplx takes expressions from column 300, or from column 10 of a file with fewer than 400."""
    return 300 if arrays["shapedirs"].shape[2] >= 400 else 10


def expression_columns(arrays: dict[str, Any]) -> int:
    return 100 if arrays["shapedirs"].shape[2] >= 400 else 10


def _smplx_landmarks(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """17 contour points at zero yaw, then the 51 inner ones: the 68-point order."""
    faces = np.concatenate([arrays["dynamic_lmk_faces_idx"][0], arrays["lmk_faces_idx"]])
    bary = np.concatenate([arrays["dynamic_lmk_bary_coords"][0], arrays["lmk_bary_coords"]])
    return faces.astype(np.int64), bary.astype(np.float32)


def _flame_landmarks(folders: tuple[Path, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """From either of the two forms in which the FLAME embedding goes round."""
    if whole := assets.find_file(("landmark_embedding.npy",), folders):
        content = read_arrays(whole)
        faces, bary = (
            content["full_lmk_faces_idx"].reshape(-1),
            content["full_lmk_bary_coords"].reshape(-1, 3),
        )
    else:
        static = assets.find_file(("flame_static_embedding.pkl",), folders)
        dynamic = assets.find_file(("flame_dynamic_embedding.npy",), folders)
        if static is None or dynamic is None:
            return None
        inner, contour = read_arrays(static), read_arrays(dynamic)
        faces = np.concatenate([np.asarray(contour["lmk_face_idx"])[0], inner["lmk_face_idx"]])
        bary = np.concatenate([np.asarray(contour["lmk_b_coords"])[0], inner["lmk_b_coords"]])
    return faces.astype(np.int64), bary.astype(np.float32)


def _correspondence(folders: tuple[Path, ...]) -> Int[np.ndarray, " 5023"] | None:
    path = assets.correspondence_file(folders)
    if path is None:
        return None
    ids = read_arrays(path)["array"].astype(np.int64).ravel()
    if len(ids) != FORMATS["flame"].vertices or ids.max() >= FORMATS["smplx"].vertices:
        raise UserError(str(path), f"{len(ids)} ids", "5023 SMPL-X vertex ids", "download the file again")
    return ids


def _regions(
    kind: Kind,
    arrays: dict[str, np.ndarray],
    correspondence: Int[np.ndarray, " 5023"] | None,
    marks: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, Int[np.ndarray, " _"]]:
    """What can be known of a licensed mesh; the rest are empty. Fallbacks as in methods H.3."""
    weights, left, right = arrays["weights"], *FORMATS[kind].eye_joints
    regions = {name: np.zeros(0, np.int64) for name in REGION_NAMES}
    regions["left_eye"] = np.flatnonzero(weights[:, left] > 0.5)
    regions["right_eye"] = np.flatnonzero(weights[:, right] > 0.5)
    if kind == "smplx":
        regions["left_hand"] = np.flatnonzero(weights[:, [20, *range(25, 40)]].sum(1) > 0.5)
        regions["right_hand"] = np.flatnonzero(weights[:, [21, *range(40, 55)]].sum(1) > 0.5)
        regions["head"] = np.flatnonzero(weights[:, [12, 15, 22, 23, 24]].sum(1) > 0.5)
    if marks is not None:
        regions |= _rings_from_landmarks(arrays, marks)
    if correspondence is not None:
        regions["head"] = np.unique(correspondence)
        regions["lip_outer_upper"] = correspondence[_FLAME_UPPER_LIP[::-1]]
        regions["lip_outer_lower"] = correspondence[_FLAME_LOWER_LIP[::-1]]
    return regions


def _rings_from_landmarks(
    arrays: dict[str, np.ndarray], marks: tuple[np.ndarray, np.ndarray]
) -> dict[str, Int[np.ndarray, " 15"]]:
    """The vertices nearest to 15 points spread evenly along each lip, from the person's right to left."""
    points = np.einsum("lc,lcx->lx", marks[1], arrays["v_template"][arrays["f"][marks[0]]])
    lines = {
        "lip_outer_upper": [48, 49, 50, 51, 52, 53, 54],
        "lip_outer_lower": [48, 59, 58, 57, 56, 55, 54],
        "lip_inner_upper": [60, 61, 62, 63, 64],
        "lip_inner_lower": [60, 67, 66, 65, 64],
    }
    rings = {}
    for name, line in lines.items():
        corners = points[line]
        along = np.r_[0, np.linalg.norm(np.diff(corners, axis=0), axis=1).cumsum()]
        places = np.linspace(0, along[-1], teeth.POINTS)
        spread = np.stack([np.interp(places, along, corners[:, axis]) for axis in range(3)], 1)
        distances = np.linalg.norm(spread[:, None] - arrays["v_template"][None], axis=2)
        rings[name] = distances.argmin(1)
    return rings


def _uv(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Texture coordinates where the file has them; teeth get one of their own, in the corner."""
    if "vt" not in arrays or "ft" not in arrays:
        return None
    vt, ft = arrays["vt"], arrays["ft"].astype(np.int64)
    teeth_faces = np.full((len(arrays["f"]) - len(ft), 3), len(vt))
    return np.concatenate([vt, np.zeros((1, 2), vt.dtype)]), np.concatenate([ft, teeth_faces])
