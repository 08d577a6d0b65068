"""Stand-ins in the layout of the published SMPL-X and FLAME files: right keys and shapes, made-up values."""

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import scipy.sparse

from talkingavatar.body.tpose import PARENTS

# Landmarks 48-67, at x and y: an outer ring 5 cm wide, and the line where the lips meet, there and back.
_AROUND = np.linspace(np.pi, -np.pi, 12, endpoint=False)
_ACROSS = np.array([-0.018, -0.009, 0, 0.009, 0.018, 0.009, 0, -0.009])
MOUTH = np.concatenate(
    [
        np.stack([0.025 * np.cos(_AROUND), 0.012 * np.sin(_AROUND)], 1),
        np.stack([_ACROSS, np.zeros(8)], 1),
    ]
)


def _common(vertices: int, faces: int, parents: np.ndarray, columns: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    joints = len(parents)
    triangles = random.integers(300, vertices, (faces, 3))
    triangles[:100] = np.arange(300).reshape(100, 3)  # the faces that carry landmarks
    template = random.uniform(-0.5, 0.5, (vertices, 3))
    weights = random.dirichlet(np.full(joints, 0.05), vertices)
    weights[-400:] = np.eye(joints)[-2]  # left eye
    weights[-200:] = np.eye(joints)[-1]
    regressor = np.zeros((joints, vertices))
    regressor[np.arange(joints)[:, None], random.integers(300, vertices, (joints, 5))] += 0.2
    posedirs = np.zeros((vertices, 3, 9 * (joints - 1)), np.float32)
    posedirs[:2000:7] = random.normal(0, 1e-3, posedirs[:2000:7].shape)
    return {
        "v_template": template,
        "f": triangles.astype(np.uint32),
        "weights": weights,
        "J_regressor": regressor,
        "kintree_table": np.stack([parents, np.arange(joints)]).astype(np.int64),
        "shapedirs": random.normal(0, 1e-2, (vertices, 3, columns)).astype(np.float32),
        "posedirs": posedirs,
    }


def smplx_arrays() -> dict[str, np.ndarray]:
    """SMPL-X 1.0: 10,475 vertices, ten shape and ten expression directions."""
    arrays = _common(10_475, 20_908, PARENTS, 20)
    for i, (x, y) in enumerate(MOUTH):
        arrays["v_template"][arrays["f"][48 + i]] = [x, y, 0.1]
    around = np.linspace(0, 2 * np.pi, 200)  # lips have more vertices than landmarks
    arrays["v_template"][4000:4200] = np.stack([0.025 * np.cos(around), 0.012 * np.sin(around), 0 * around + 0.1], 1)
    identity, zero = np.eye(45), np.zeros(45)
    corners = np.tile(np.array([1.0, 0, 0]), (68, 1))
    return arrays | {
        "hands_componentsl": identity, "hands_componentsr": identity,
        "hands_meanl": zero + 0.1, "hands_meanr": zero + 0.1,
        "lmk_faces_idx": np.arange(17, 68), "lmk_bary_coords": corners[17:],
        "dynamic_lmk_faces_idx": np.tile(np.arange(17), (79, 1)),
        "dynamic_lmk_bary_coords": np.tile(corners[:17], (79, 1, 1)),
    }  # fmt: skip


def flame_arrays() -> dict[str, np.ndarray]:
    """FLAME 2020: 5,023 vertices, 300 shape and 100 expression directions."""
    return _common(5_023, 9_976, np.array([-1, 0, 1, 1, 1]), 400)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """As SMPL-X is published: among the arrays a table of names that is itself a pickle."""
    np.savez(path, **arrays, joint2num=np.array({"pelvis": 0}, dtype=object))
    return path


def write_pkl(path: Path, arrays: dict[str, np.ndarray], protocol: int = 2) -> Path:
    """As FLAME is published: template and shapes as chumpy arrays, the regressor as a scipy sparse matrix."""
    chumpy, ch = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    ch.Ch, chumpy.ch = Ch, ch  # type: ignore[attr-defined]
    wrapped = dict(arrays)
    for name in ("v_template", "shapedirs"):
        wrapped[name] = Ch()
        wrapped[name].__dict__.update(x=arrays[name], _dirty_vars={"x"}, _itr=None)
    wrapped["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    wrapped["bs_type"] = "lrotmin"
    sys.modules.update({"chumpy": chumpy, "chumpy.ch": ch})
    try:
        path.write_bytes(pickle.dumps(wrapped, protocol=protocol))
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
    return path
