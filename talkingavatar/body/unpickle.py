"""Reads published model files without running what is in them.

A pickle may name any function to call. FLAME's and SMPL-X's name numpy, scipy.sparse and chumpy (a package
that no longer installs) only: those are mapped to plain containers, anything else is refused.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from talkingavatar.errors import UserError


class _State:
    """Stands for an object of a foreign class: only its attributes are kept."""

    def __new__(cls, *_: object) -> _State:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state[0] if isinstance(state, tuple) else state)


class _Chumpy(_State):
    """`chumpy.ch.Ch` (an array) or `chumpy.reordering.Select` (a selection of one)."""

    def array(self) -> np.ndarray:
        if "x" in self.__dict__:
            return np.asarray(_plain(self.__dict__["x"]))
        whole, index = _plain(self.__dict__["a"]), _plain(self.__dict__["idxs"])
        return np.asarray(whole).ravel()[index].reshape(_plain(self.__dict__["preferred_shape"]))


class _Sparse(_State):
    """A compressed sparse matrix of any scipy version."""

    form: type = scipy.sparse.csc_matrix

    def array(self) -> np.ndarray:
        state = self.__dict__
        parts = tuple(_plain(state[key]) for key in ("data", "indices", "indptr"))
        return self.form(parts, shape=_plain(state.get("_shape", state.get("shape")))).toarray()


class _SparseRows(_Sparse):
    form = scipy.sparse.csr_matrix


_NUMPY_NAMES = {"_reconstruct", "scalar", "ndarray", "dtype", "_frombuffer"}
_OTHER_NAMES = {
    ("copy_reg", "_reconstructor"),
    ("copyreg", "_reconstructor"),
    ("__builtin__", "object"),
    ("builtins", "object"),
    ("__builtin__", "set"),
    ("builtins", "set"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        package = module.partition(".")[0]
        if package == "numpy" and name in _NUMPY_NAMES:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if package == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csr_matrix"):
            return _Sparse if name == "csc_matrix" else _SparseRows
        if (module, name) in _OTHER_NAMES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is neither numpy, scipy.sparse nor chumpy")


def _plain(value: Any) -> Any:
    return value.array() if isinstance(value, (_Chumpy, _Sparse)) else value


def read_arrays(
    path: Path,
    field: str = "body.path",
    expected: str = "a complete model file as published (.npz or .pkl)",
    action: str = "download it again, or check that the path names the right file",
) -> dict[str, Any]:
    """The entries of an `.npz`, `.pkl` or object `.npy` file, arrays as plain numpy.

    Entries of an `.npz` that are themselves pickled (SMPL-X's name tables) are left out. `expected` and `action` are
    what a reader of the error is told.

    Raises:
        UserError: the file cannot be read as its ending says, or names foreign code.
    """
    try:
        if path.suffix == ".npz":
            return _read_npz(path)
        if path.suffix == ".npy":
            return _read_npy(path)
        with path.open("rb") as file:
            content = _RestrictedUnpickler(file, encoding="latin1").load()
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__} instead of named arrays")
        return {key: _plain(value) for key, value in content.items()}
    except Exception as problem:  # a damaged file makes pickle, zipfile and numpy raise of every kind
        reason = (str(problem).splitlines() or [type(problem).__name__])[0][:200]
        raise UserError(field, f"{path}, unreadable: {reason}", expected, action) from problem


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {}
        for key in file.files:
            with file.zip.open(f"{key}.npy") as entry:  # type: ignore[union-attr]
                dtype = _read_header(entry)
            if not dtype.hasobject:
                arrays[key] = file[key]
        return arrays


def _read_npy(path: Path) -> dict[str, Any]:
    """A plain array under the name "array", or the dict that `np.save` pickled."""
    data = path.read_bytes()
    file = io.BytesIO(data)
    dtype = _read_header(file)
    if not dtype.hasobject:
        return {"array": np.load(io.BytesIO(data), allow_pickle=False)}
    content = np.asarray(_RestrictedUnpickler(file, encoding="latin1").load()).item()
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} instead of named arrays")
    return {key: _plain(value) for key, value in content.items()}


def _read_header(file: io.BufferedIOBase) -> np.dtype[Any]:
    """The type of the array that follows."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)[2]
