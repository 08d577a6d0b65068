"""Gaussians as the binary .ply of the 3D Gaussian splatting reference code, which every viewer reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from talkingavatar.errors import UserError
from talkingavatar.geometry.spherical_harmonics import sh_degree
from talkingavatar.types import Gaussians

FORMAT = ["ply", "format binary_little_endian 1.0"]
OPACITY_LIMIT = 1e-6  # opacities are stored as logits, so 0 and 1 are moved inside by this


def write_ply(path: Path, gaussians: Gaussians) -> None:
    """The file of `ply`."""
    path.write_bytes(ply(gaussians))


def ply(gaussians: Gaussians, comments: Sequence[str] = ()) -> bytes:
    """N Gaussians: log scales, logit opacities, harmonics by channel, quaternions (w, x, y, z)."""
    g = {name: value.detach().cpu().float() for name, value in vars(gaussians).items()}
    count = len(g["means"])
    opacities = torch.logit(g["opacities"].clamp(OPACITY_LIMIT, 1 - OPACITY_LIMIT))
    rest = g["sh"][:, 1:].transpose(1, 2).reshape(count, g["sh"][:, 1:].numel() // max(count, 1))
    normals = torch.zeros(count, 3)
    parts = [g["means"], normals, g["sh"][:, 0], rest, opacities[:, None], g["scales"].log(), g["quats"]]
    table = torch.cat(parts, 1).numpy().astype("<f4")
    names = _columns(g["sh"].shape[1])
    told = [f"comment {comment}" for comment in comments]
    header = [*FORMAT, *told, f"element vertex {count}", *(f"property float {n}" for n in names), "end_header\n"]
    return "\n".join(header).encode("ascii") + table.tobytes()


def read_ply(path: Path) -> Gaussians:
    """Read what `write_ply` or the reference code wrote, activated, in float32 on the CPU.

    Raises:
        UserError: the file is not such a .ply, lacks a column, or is truncated.
    """
    data = path.read_bytes()
    end = data.find(b"end_header\n")
    lines = data[: max(end, 0)].decode("ascii", errors="replace").splitlines()
    if end < 0 or lines[:2] != FORMAT:
        raise _mistake(path, "another file", "a binary little-endian .ply of Gaussians")
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    count = next((int(line.split()[2]) for line in lines if line.startswith("element vertex ")), -1)
    body = data[end + len(b"end_header\n") :]
    coefficients = 1 + sum(n.startswith("f_rest_") for n in names) // 3
    missing = [] if coefficients not in (1, 4, 9, 16) else set(_columns(coefficients)[6:]) - set(names)
    if coefficients not in (1, 4, 9, 16) or missing or not {"x", "y", "z"} <= set(names):
        raise _mistake(path, f"columns {', '.join(names) or 'none'}", "those of a 3D Gaussian splatting .ply")
    if len(body) < 4 * count * len(names) or count < 0:
        raise _mistake(path, f"{len(body)} bytes of data", f"{4 * count * len(names)} for {count} Gaussians")
    table = np.frombuffer(body, "<f4", count * len(names)).reshape(count, len(names))

    def columns(*wanted: str) -> torch.Tensor:
        return torch.from_numpy(table[:, [names.index(n) for n in wanted]].astype(np.float32))

    rest = columns(*(f"f_rest_{i}" for i in range(3 * (coefficients - 1)))).reshape(count, 3, coefficients - 1)
    return Gaussians(
        means=columns("x", "y", "z"),
        quats=columns(*(f"rot_{i}" for i in range(4))),
        scales=columns(*(f"scale_{i}" for i in range(3))).exp(),
        opacities=columns("opacity")[:, 0].sigmoid(),
        sh=torch.cat([columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None], rest.transpose(1, 2)], 1),
    )


def _columns(coefficients: int) -> list[str]:
    """The reference code's columns for K coefficients; their number is checked to be that of a degree."""
    sh_degree(coefficients)
    rest = [f"f_rest_{i}" for i in range(3 * (coefficients - 1))]
    geometry = ["opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    return ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, *geometry]


def _mistake(path: Path, found: str, expected: str) -> UserError:
    return UserError(str(path), found, expected, "give a file written by `export` or a Gaussian splatting tool")
