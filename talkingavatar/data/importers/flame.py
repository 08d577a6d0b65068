"""Per-frame FLAME parameters, in the names that GaussianAvatars and VHAP give them or RenderMe-360's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.data.importers.clip import COMPLETE, read_npz
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
SIZES = {"rotation": 3, "neck": 3, "jaw": 3, "transl": 3}
EYES = ("eyes_pose",), ("left_eye_pose", "right_eye_pose")  # six numbers, or three and three


def flame_of_files(
    files: Sequence[Path | None], canonical: Path | None = None
) -> tuple[dict[str, ndarray] | None, list[int]]:
    """The table of frames that have a file, and the numbers of those that have none, or one that is not finite: they
    are given what the frame before says. No table where no frame names a file.

    Raises:
        UserError: not one of the files that are named is there, or one is damaged or of another size.
    """
    if not any(files):
        return None, []
    there = {i: read_npz(file) for i, file in enumerate(files) if file is not None and file.is_file()}
    finite = [i for i, arrays in there.items() if all(_is_finite(values) for values in arrays.values())]
    if not finite:
        found = "no such file" if not there else "numbers that are not finite"
        raise UserError(str(next(filter(None, files))), found, "FLAME parameters", "complete the dataset")
    places = np.maximum(np.searchsorted(finite, np.arange(len(files)), side="right") - 1, 0)
    chosen = [finite[place] for place in places]
    table = flame_table([there[i] for i in chosen], [str(files[i]) for i in chosen],
                        None if canonical is None else read_npz(canonical))  # fmt: skip
    return table, sorted(set(range(len(files))) - set(finite))


def flame_table(
    frames: Sequence[Mapping[str, ndarray]], sources: Sequence[str], canonical: Mapping[str, ndarray] | None = None
) -> dict[str, ndarray]:
    """One table of T frames: betas (S), expression (T,E), full_pose (T,5,3), transl (T,3), as published.

    Args:
        frames: the parameters of each frame; a leading axis of length one does not matter.
        sources: where each was read, for errors.
        canonical: whose shape (and offsets) count where it is given; else the first frame's.

    Raises:
        UserError: a part is missing, is no number, or frames differ in size.
    """
    shape_from = frames[0] if canonical is None else canonical
    rows = {part: _stacked([_part(frame, names, source) for frame, source in zip(frames, sources, strict=True)],
                           SIZES.get(part), names[0], sources) for part, names in NAMES.items()}  # fmt: skip
    eyes = _stacked([_eyes(frame, source) for frame, source in zip(frames, sources, strict=True)], 6, "eyes", sources)
    joints = [rows["rotation"], rows["neck"], rows["jaw"], eyes[:, :3], eyes[:, 3:]]
    table = {
        "betas": _part(shape_from, NAMES["betas"], sources[0]),
        "expression": rows["expression"],
        "full_pose": np.stack(joints, 1),
        "transl": rows["transl"],
    }
    if "static_offset" in shape_from:
        offsets = _part(shape_from, ("static_offset",), sources[0])
        if offsets.size % 3:
            raise UserError(sources[0], f"static_offset of {offsets.size} numbers", "three a vertex", COMPLETE)
        table["static_offset"] = offsets.reshape(-1, 3)
    return table


def _stacked(
    parts: Sequence[Float[ndarray, " n"]], size: int | None, name: str, sources: Sequence[str]
) -> Float[ndarray, "T n"]:
    size = len(parts[0]) if size is None else size
    for part, source in zip(parts, sources, strict=True):
        if len(part) != size:
            raise UserError(source, f"{name} of {len(part)} numbers", f"{size}", COMPLETE)
    return np.stack(parts)


def _is_finite(values: ndarray) -> bool:
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).all())


def _part(frame: Mapping[str, ndarray], names: tuple[str, ...], source: str) -> Float[ndarray, " n"]:
    for name in names:
        if name in frame:
            values = np.asarray(frame[name])
            if values.dtype.kind not in "fiub" or not values.size:
                raise UserError(source, f"{name} of type {values.dtype}, {values.size} of it", "numbers", COMPLETE)
            return values.astype(np.float64).reshape(-1)
    raise UserError(source, f"no {' or '.join(names)}", "FLAME parameters", COMPLETE)


def _eyes(frame: Mapping[str, ndarray], source: str) -> Float[ndarray, " n"]:
    if any(name in frame for name in EYES[0]):
        return _part(frame, EYES[0], source)
    return np.concatenate([_part(frame, (name,), source) for name in EYES[1]])
