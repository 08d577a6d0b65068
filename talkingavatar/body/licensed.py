"""The licensed models: found, read, checked, given teeth and named parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from talkingavatar.body import assets, teeth
from talkingavatar.body.parts import REGION_NAMES, Parts
from talkingavatar.body.unpickle import read_arrays
from talkingavatar.errors import UserError

LARGEST = 100.0  # metres or radians by which a parameter of 1 may move anything
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
        given = Path(path).expanduser()
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
    if wrong := next(_impossible(arrays, form), None):
        raise UserError("body.path", f"{wrong} in {path}", expected, action)
    uv: dict[str, np.ndarray] = {name: np.asarray(content[name]) for name in ("vt", "ft") if name in content}
    if wrong := _impossible_uv(uv, form):
        raise UserError("body.path", f"{wrong} in {path}", "texture coordinates of its faces", action)
    return arrays | uv


def _impossible(arrays: dict[str, np.ndarray], form: _Format) -> Iterator[str]:
    """What no body can have though its shape is right."""
    if not _within(arrays["f"], form.vertices):
        yield "faces of vertices that there are not"
    if arrays["shapedirs"].shape[2] < 20:
        yield f"{arrays['shapedirs'].shape[2]} shape directions"
    if not 0.05 < (size := np.ptp(arrays["v_template"], axis=0).max()) < 10.0:
        yield f"a body of {size:.3g} metres"
    if arrays["weights"].min() < -1e-3 or abs(arrays["weights"].sum(1) - 1).max() > 0.05:
        yield "'weights' that are no shares"
    if abs(arrays["J_regressor"].sum(1) - 1).max() > 0.5:
        yield "'J_regressor' that is no mean"
    for name in ("shapedirs", "posedirs", *(name for name in _HANDS if name in arrays)):
        if (most := abs(arrays[name]).max()) > LARGEST:
            yield f"'{name}' with {most:.3g}"
    parents = arrays["kintree_table"][0, 1:].astype(np.int64)
    if (parents < 0).any() or (parents > np.arange(form.joints - 1)).any():
        yield "'kintree_table' in which a joint hangs on a later one"
    for kind in ("", "dynamic_"):
        if f"{kind}lmk_faces_idx" in arrays:
            if not _within(arrays[f"{kind}lmk_faces_idx"], form.faces):
                yield f"'{kind}lmk_faces_idx' of faces that there are not"
            if not _barycentric(arrays[f"{kind}lmk_bary_coords"]):
                yield f"'{kind}lmk_bary_coords' outside their faces"


def _impossible_uv(uv: dict[str, np.ndarray], form: _Format) -> str:
    if len(uv) < 2:
        return ""
    vt, ft = uv["vt"], uv["ft"]
    if vt.ndim != 2 or vt.shape[1] != 2 or vt.dtype.kind != "f" or not np.isfinite(vt).all():
        return f"'vt' of shape {vt.shape} and type {vt.dtype}"
    if ft.shape != (form.faces, 3) or ft.dtype.kind not in "iu" or not _within(ft, len(vt)):
        return f"'ft' of shape {ft.shape} and type {ft.dtype}"
    return ""


def _within(numbers: np.ndarray, count: int) -> bool:
    return bool((numbers >= 0).all() and (numbers < count).all())


def _barycentric(points: np.ndarray) -> bool:
    return bool((points > -0.5).all() and (abs(points.sum(-1) - 1) < 0.1).all())


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
    """From either of the two forms in which the FLAME embedding goes round.

    Raises:
        UserError: there is one that does not fit.
    """
    whole = assets.find_file(("landmark_embedding.npy",), folders)
    file = whole or assets.find_file(("flame_static_embedding.pkl",), folders)
    try:
        found = _flame_embedding(whole, folders)
        if found is None:
            return None
        faces, bary = found[0].astype(np.int64), found[1].astype(np.float32)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise _no_embedding(file, f"{type(error).__name__}: {error}") from error
    if faces.shape != (68,) or bary.shape != (68, 3):
        raise _no_embedding(file, f"{len(faces)} faces and {len(bary)} places on them")
    if not _within(faces, FORMATS["flame"].faces) or not _barycentric(bary):
        raise _no_embedding(file, "places on no face")
    return faces, bary


def _no_embedding(file: Path | None, found: str) -> UserError:
    return UserError(str(file), found, "68 landmarks on FLAME's faces", "download the file again")


def _flame_embedding(whole: Path | None, folders: tuple[Path, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Face of each landmark and where on it, as the files have them."""
    if whole is not None:
        content = read_arrays(whole, str(whole))
        faces, bary = (
            content["full_lmk_faces_idx"].reshape(-1),
            content["full_lmk_bary_coords"].reshape(-1, 3),
        )
    else:
        static = assets.find_file(("flame_static_embedding.pkl",), folders)
        dynamic = assets.find_file(("flame_dynamic_embedding.npy",), folders)
        if static is None or dynamic is None:
            return None
        inner, contour = read_arrays(static, str(static)), read_arrays(dynamic, str(dynamic))
        faces = np.concatenate([np.asarray(contour["lmk_face_idx"])[0], inner["lmk_face_idx"]])
        bary = np.concatenate([np.asarray(contour["lmk_b_coords"])[0], inner["lmk_b_coords"]])
    return faces, bary


def _correspondence(folders: tuple[Path, ...]) -> Int[np.ndarray, " 5023"] | None:
    path = assets.correspondence_file(folders)
    if path is None:
        return None
    ids = np.asarray(read_arrays(path, str(path)).get("array")).ravel()
    right = ids.dtype.kind in "iu" and len(ids) == FORMATS["flame"].vertices
    if not right or not _within(ids, FORMATS["smplx"].vertices):
        found = f"{len(ids)} values of type {ids.dtype}"
        raise UserError(str(path), found, "5023 SMPL-X vertex ids", "download the file again")
    return ids.astype(np.int64)


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
