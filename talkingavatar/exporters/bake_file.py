"""A baked avatar in a .glb: a still one for every viewer of splats, and beside it the arrays by which ours moves it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from talkingavatar.errors import UserError
from talkingavatar.exporters.glb import glb
from talkingavatar.networks.baked import Baked, Grid, Latents, Listener, Residual, Resting, Skeleton, Skin, Weights
from talkingavatar.networks.footing import FAR, NEAR
from talkingavatar.types import Gaussians

FORMAT, VERSION, EXTRAS = "talkingavatar-baked", 2, "talkingavatar"
DTYPES = ("float32", "float16", "int32", "uint16", "uint8")
# Arrays of the file: where each lies in a `Baked`, how it is stored, and its axes by the letters of `networks.baked`.
# Bases as halves cost a hundredth of a millimetre, and are most of the file.
ARRAYS = {
    "gaussians.means": ("gaussians.means", "float32", "N3"),
    "gaussians.quats": ("gaussians.quats", "float32", "N4"),
    "gaussians.log_scales": ("gaussians.log_scales", "float32", "N3"),
    "gaussians.opacities": ("gaussians.opacities", "float32", "N"),
    "gaussians.sh": ("gaussians.sh", "float32", "NK3"),
    "gaussians.open_sided": ("gaussians.open_sided", "uint8", "N"),
    "gaussians.inside": ("gaussians.inside", "uint8", "N"),
    "rest_joints": ("skeleton.joints", "float32", "J3"),
    "rest_joints.expression": ("skeleton.directions", "float32", "J3E"),
    "anchor": ("skeleton.anchor", "float32", "34"),
    "anchor.follow": ("skeleton.follow", "float32", "1"),
    "weights.joints": ("weights.joints", "uint16", "NW"),
    "weights.values": ("weights.values", "float32", "NW"),
    "skin.corners": ("skin.corners", "int32", "N3"),
    "skin.shares": ("skin.shares", "float32", "N3"),
    "skin.resting": ("skin.resting", "float32", "N3"),
    "skin.basis": ("skin.basis", "float16", "S9E"),
    "skin.base": ("skin.base", "float32", "S32"),
    "skin.tangents": ("skin.tangents", "float32", "S32"),
    "skin.normals": ("skin.normals", "float32", "S3"),
    "pose.basis": ("skin.pose_basis", "float16", "M3F"),
    "pose.features": ("skin.pose_features", "int32", "F3"),
    "residual.basis": ("residual.basis", "float16", "nCR"),
    "residual.rows": ("residual.rows", "int32", "n"),
    "residual.columns": ("residual.columns", "int32", "C"),
    "residual.first": ("residual.first", "uint16", "n"),
    "residual.most": ("residual.most", "float32", "C"),
    "residual.turns": ("residual.turns", "float32", "n4"),
    "listener.rows": ("listener.rows", "int32", "m"),
    "listener.places": ("listener.places", "float32", "mH"),
    "listener.ears": ("listener.ears", "float32", "mA"),
    "listener.first": ("listener.first", "float32", "HA"),
    "listener.second": ("listener.second", "float32", "HH"),
    "listener.second_bias": ("listener.second_bias", "float32", "H"),
    "listener.third": ("listener.third", "float32", "HH"),
    "listener.third_bias": ("listener.third_bias", "float32", "H"),
    "listener.last": ("listener.last", "float32", "OH"),
    "listener.last_bias": ("listener.last_bias", "float32", "O"),
    "grid.rows": ("grid.rows", "int32", "g"),
    "grid.lower": ("grid.lower", "float32", "3"),
    "grid.step": ("grid.step", "float32", "3"),
    "grid.nodes": ("grid.nodes", "int32", "XYZ"),
    "grid.joints": ("grid.joints", "uint16", "DQ"),
    "grid.values": ("grid.values", "float32", "DQ"),
    "latents.places": ("latents.places", "float32", "P"),
    "latents.turns": ("latents.turns", "float32", "LPJ3"),
    "latents.expression": ("latents.expression", "float32", "LPE"),
    "latents.residual": ("latents.residual", "float32", "LPc"),
}
# Those that an avatar may lack; of one that has a residual, the first three of it must be there, of others all.
OPTIONAL = {name for name in ARRAYS if name.startswith(("anchor", "pose", "residual", "listener", "grid", "latents"))}
OPTIONAL |= {"gaussians.open_sided", "gaussians.inside", "rest_joints.expression"}


@dataclass(frozen=True)
class BakedFile:
    """What such a file holds."""

    manifest: dict[str, Any]
    avatar: Baked


def baked_glb(avatar: Baked, facts: Mapping[str, Any], still: Gaussians) -> bytes:
    """
    Args:
        facts: of the manifest, beside what is read off the avatar.
        still: settled; what others show.
    """
    arrays = arrays_of(avatar)
    described = {
        name: {"view": number, "dtype": str(values.dtype), "shape": list(values.shape)}
        for number, (name, values) in enumerate(arrays.items())
    }
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        **facts,
        "parents": avatar.skeleton.parents.tolist(),
        "heights": [NEAR, FAR],
        "counts": counts_of(avatar),
        "arrays": described,
    }
    return glb(still, {EXTRAS: manifest}, list(arrays.values()))


def arrays_of(avatar: Baked) -> dict[str, ndarray]:
    """By the file's names, of its types."""
    found = {}
    for name, (path, dtype, _) in ARRAYS.items():
        value: Any = reduce(lambda part, field: None if part is None else getattr(part, field), path.split("."), avatar)
        if isinstance(value, Tensor):
            found[name] = np.ascontiguousarray(value.numpy(force=True).astype(np.dtype(dtype).newbyteorder("<")))
    return found


def counts_of(avatar: Baked) -> dict[str, int]:
    """Sizes that a reader wants to know first."""
    residual, listener, sizes = avatar.residual, avatar.listener, avatar.skin.basis.shape
    coefficients = 0
    if residual is not None:
        first = 0 if residual.first is None else int(residual.first.max())
        coefficients = first + residual.basis.shape[2]
    if listener is not None:
        coefficients += listener.ears.shape[1]
    return {
        "gaussians": len(avatar),
        "sh": avatar.gaussians.sh.shape[1],
        "rows": len(avatar.skin),
        "stretched": sizes[0],
        "joints": len(avatar.skeleton.joints),
        "expressions": sizes[2],
        "coefficients": coefficients,
    }


def read_baked(file: Path) -> BakedFile:
    """
    Raises:
        UserError: it is no such file, a damaged one, or one of another version.
    """
    try:
        document, binary = _chunks(file.read_bytes())
    except OSError as error:
        raise UserError("file", f"{file}: {error.strerror}", "a .glb of export", "correct it") from error
    except (ValueError, struct.error) as error:
        raise UserError("file", f"{file}: {error}", "a whole .glb", "export it again") from error
    extras = document.get("asset", {}).get("extras", {})
    manifest = extras.get(EXTRAS) if isinstance(extras, dict) else None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError("file", f"{file}: nothing that moves in it", "a baked avatar", "make one with export to=glb")
    if manifest.get("version") not in range(1, VERSION + 1):  # the first had no listener and no grid
        found = f"{file}: version {manifest.get('version')} of baked avatars"
        raise UserError("file", found, f"version {VERSION} at most", "export it again with this release")
    try:
        return BakedFile(manifest, _avatar(manifest, document["bufferViews"], binary))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        text = f"{error.args[0]} is not there" if isinstance(error, KeyError) else str(error)
        raise UserError("file", f"{file}: {text}", "a whole baked avatar", "export it again") from error


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The document and what lies behind it."""
    magic, version, length = struct.unpack_from("<III", data)
    if (magic, version) != (0x46546C67, 2):
        raise ValueError("not glTF 2.0 in one file")
    if length != len(data):
        raise ValueError(f"{len(data)} bytes of {length}")
    size, _ = struct.unpack_from("<II", data, 12)
    document = json.loads(data[20 : 20 + size])
    if not isinstance(document, dict):
        raise ValueError("its document is no object")
    return document, data[28 + size :]


def _avatar(manifest: dict[str, Any], views: list[dict[str, int]], binary: bytes) -> Baked:
    """
    Raises:
        KeyError, TypeError, ValueError, IndexError: something is missing, of another size, or no number.
    """
    sizes: dict[str, int] = {}
    parents = torch.tensor(manifest["parents"], dtype=torch.int32)
    sizes["J"] = len(parents)
    values: dict[str, Tensor] = {}
    for name, (path, _, axes) in ARRAYS.items():
        if name in manifest["arrays"]:
            values[path] = torch.from_numpy(_array(name, axes, sizes, manifest["arrays"][name], views, binary))
        elif name not in OPTIONAL:
            raise KeyError(name)
    avatar = _assembled(values, parents)
    _check_numbers(avatar)
    return avatar


def _array(
    name: str, axes: str, sizes: dict[str, int], told: dict[str, Any], views: list[dict[str, int]], binary: bytes
) -> ndarray:
    """One array; its axes are as long as those of the same letter before."""
    shape, dtype = tuple(told["shape"]), told["dtype"]
    if dtype not in DTYPES or len(shape) != len(axes):
        raise ValueError(f"{name} of {dtype}, {shape}")
    for axis, length in zip(axes, shape, strict=True):
        expected = int(axis) if axis.isdigit() else sizes.setdefault(axis, length)
        if length != expected:
            raise ValueError(f"{name} of {shape}, where {expected} was due")
    view = views[told["view"]]
    kind = np.dtype(dtype).newbyteorder("<")
    if view["byteLength"] != kind.itemsize * int(np.prod(shape)) or view["byteOffset"] % 4:
        raise ValueError(f"{name} of {view['byteLength']} bytes")
    found = np.frombuffer(binary, kind, int(np.prod(shape)), view["byteOffset"]).reshape(shape)
    if kind.kind == "f" and not np.isfinite(found).all():
        raise ValueError(f"{name} with what is no number")
    return _loaded(found)


def _loaded(values: ndarray) -> ndarray:
    """As avatars hold it."""
    kinds = {"f": "float32", "u": "bool" if values.itemsize == 1 else "int32", "i": "int32"}
    return values.astype(kinds[values.dtype.kind])


def as_stored(avatar: Baked) -> Baked:
    """The avatar as it comes out of a file: bases as halves."""
    values = {ARRAYS[name][0]: torch.from_numpy(_loaded(array)) for name, array in arrays_of(avatar).items()}
    return _assembled(values, avatar.skeleton.parents.cpu())


def _assembled(values: Mapping[str, Tensor], parents: Tensor) -> Baked:
    """Fields by their paths."""

    def part(kind: Callable[..., Any], name: str, **more: Tensor) -> Any:
        fields = {path.partition(".")[2]: value for path, value in values.items() if path.startswith(f"{name}.")}
        return kind(**fields, **more)

    def optional(kind: Callable[..., Any], name: str) -> Any:
        return part(kind, name) if any(path.startswith(f"{name}.") for path in values) else None

    return Baked(
        part(Resting, "gaussians"),
        part(Skeleton, "skeleton", parents=parents),
        part(Weights, "weights"),
        part(Skin, "skin"),
        optional(Residual, "residual"),
        optional(Grid, "grid"),
        optional(Listener, "listener"),
        optional(Latents, "latents"),
    )


def _check_numbers(avatar: Baked) -> None:
    """
    Raises:
        ValueError: a number of something that is not there.
    """
    skeleton, skin, residual, grid = avatar.skeleton, avatar.skin, avatar.residual, avatar.grid
    carriers = len(skeleton.joints) + (skeleton.anchor is not None)
    before = torch.arange(len(skeleton.parents))
    checks: list[tuple[str, Tensor, int, int | Tensor]] = [
        ("parents", skeleton.parents, -1, before),
        ("weights.joints", avatar.weights.joints, 0, carriers),
        ("skin.corners", skin.corners, -1, len(skin)),
    ]
    if skin.pose_features is not None:
        most = torch.tensor([len(skeleton.joints), 3, 3])
        checks.append(("pose.features", skin.pose_features, 0, most))
    if residual is not None:
        checks.append(("residual.rows", residual.rows, 0, len(avatar)))
        checks.append(("residual.columns", residual.columns, 0, 14))
    if avatar.listener is not None:
        checks.append(("listener.rows", avatar.listener.rows, 0, len(avatar)))
        if len(avatar.listener.last) != 10:
            raise ValueError(f"listener.last of {len(avatar.listener.last)}, where 10 were due")
    if grid is not None:
        checks.append(("grid.rows", grid.rows, 0, len(avatar)))
        checks.append(("grid.nodes", grid.nodes, 0, len(grid.joints)))
        checks.append(("grid.joints", grid.joints, 0, carriers))
        if min(grid.nodes.shape) < 2 or (grid.step <= 0).any():
            raise ValueError(f"grid.nodes of {tuple(grid.nodes.shape)}, {grid.step.tolist()} m apart")
    for name, numbers, least, end in checks:
        if ((numbers < least) | (numbers >= end)).any():
            raise ValueError(f"{name} of what is not there")
