"""Loads any body model. The smplx package reads them all; what it does not know comes from `Parts`."""

from __future__ import annotations

import copy
import hashlib
import pickle
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import smplx
import torch

from talkingavatar.body import assets, licensed, open_rig
from talkingavatar.body.body import Body, Identity
from talkingavatar.body.licensed import Kind
from talkingavatar.body.parts import Parts
from talkingavatar.errors import UserError
from talkingavatar.runtime.files import sha256

Name = Literal["open", "open_flame", "smplx", "flame"]
Loaded = tuple[smplx.SMPLX | smplx.FLAME, Parts, Identity]


def load_body(
    name: str = "open",
    path: str | Path | None = None,
    gender: str = "neutral",
    num_betas: int = 10,
    num_expression: int = 100,
) -> Body:
    """Load a body model.

    Args:
        name: "open" (built from CC0 assets on first use), "open_flame" (its head with FLAME's joints), or the
            licensed "smplx" and "flame".
        path: model file or a folder that holds it; None searches `$TALKINGAVATAR_WEIGHTS` and the usual
            folders. Not used by the open rig.
        gender: of a licensed model: neutral, male, female.
        num_betas: shape coefficients, up to 300.
        num_expression: at most this many expression coefficients; the open rig has 52, licensed files 100.

    Raises:
        UserError: unknown name, missing file, or a file that is broken or not of that model.
    """
    if name in ("open", "open_flame"):
        _check(name, gender)
        return copy.deepcopy(_open_body(open_rig.ensure_open_rig(), name, num_betas, num_expression))
    return Body(*load_smplx(name, path, gender, num_betas, num_expression))


@lru_cache(maxsize=4)
def _open_body(folder: Path, name: str, num_betas: int, num_expression: int) -> Body:
    """Read once a process: a fit asks for it several times, at half a second each."""
    return Body(*_load_open(folder, name, num_betas, num_expression))


def load_smplx(
    name: str = "open",
    path: str | Path | None = None,
    gender: str = "neutral",
    num_betas: int = 10,
    num_expression: int = 100,
) -> Loaded:
    """The smplx package's own model of what `load_body` loads, with its parts and identity."""
    _check(name, gender)
    if name in ("open", "open_flame"):
        return _load_open(open_rig.ensure_open_rig(), name, num_betas, num_expression)
    kind: Kind = "smplx" if name == "smplx" else "flame"
    file = licensed.locate(kind, path, gender)
    arrays, parts = licensed.prepare(kind, file)
    with tempfile.TemporaryDirectory() as folder:
        _write_clean(kind, arrays, Path(folder))
        model = _construct(kind, Path(folder), num_betas, num_expression)
    return model, parts, Identity(name, file.name, sha256(file))


def _check(name: str, gender: str) -> None:
    if name not in get_args(Name) or gender not in assets.GENDERS:
        found = f"body={name} with gender {gender}"
        expected = f"one of {', '.join(get_args(Name))} with one of {', '.join(assets.GENDERS)}"
        raise UserError("body", found, expected, "choose one of these")


def _load_open(folder: Path, name: str, num_betas: int, num_expression: int) -> Loaded:
    kind: Kind = "smplx" if name == "open" else "flame"
    with np.load(folder / "open_rig.npz") as side:
        parts = open_rig.read_parts(side, head_only=kind == "flame")
        picked = torch.from_numpy(side["vertex_joints"]).long()
    model = _construct(kind, folder, num_betas, min(num_expression, len(parts.expression_names)))
    identity = Identity(name, open_rig.version(), _fingerprint(model))
    if kind == "smplx":
        # smplx has the vertex numbers of the licensed mesh wired in; here they would pick other places.
        model.vertex_joint_selector.extra_joints_idxs = picked
    return model, parts, identity


def _fingerprint(model: smplx.SMPLX | smplx.FLAME) -> str:
    """Identity of a body built here: its numbers to 10 micrometres.

    The file's own hash would tell two processors apart, whose linear algebra differs in the seventh digit of
    the joint regressor, and a checkpoint could not move between them.
    """
    digest = hashlib.sha256(np.ascontiguousarray(model.faces_tensor.numpy()).tobytes())
    for values in (model.v_template, model.shapedirs, model.expr_dirs, model.lbs_weights):
        digest.update(np.round(values.numpy() * 1e5).astype(np.int32).tobytes())
    return digest.hexdigest()


def _construct(kind: Kind, folder: Path, num_betas: int, num_expression: int) -> smplx.SMPLX | smplx.FLAME:
    sizes = {"num_betas": num_betas, "num_expression_coeffs": num_expression}
    if kind == "smplx":
        return smplx.SMPLX(str(folder), ext="npz", use_pca=False, flat_hand_mean=True, **sizes)
    return smplx.FLAME(str(folder), ext="pkl", **sizes)


def _write_clean(kind: Kind, arrays: dict[str, Any], folder: Path) -> None:
    """Plain arrays under the names smplx looks for: it would unpickle a published file without question."""
    if kind == "smplx":
        np.savez(folder / "SMPLX_NEUTRAL.npz", **arrays)
        return
    # smplx insists on a landmark file; ours are read by `licensed`, so this one only has to be there.
    placeholder = {"lmk_face_idx": np.zeros(51, np.int64), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    (folder / "FLAME_NEUTRAL.pkl").write_bytes(pickle.dumps(arrays))
    (folder / "flame_static_embedding.pkl").write_bytes(pickle.dumps(placeholder))
