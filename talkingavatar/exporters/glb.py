"""glTF 2.0 in one file with KHR_gaussian_splatting (Khronos, release candidate of 2026-04): points with attributes."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor

from talkingavatar.geometry.spherical_harmonics import SH_C0, sh_degree
from talkingavatar.types import Gaussians

NAME = "KHR_gaussian_splatting"
REVISION = "2026-04 (release candidate)"
KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
FLOAT, ARRAY_BUFFER, POINTS = 5126, 34962, 0


def glb(gaussians: Gaussians, extras: dict[str, Any], beside: Sequence[ndarray] = ()) -> bytes:
    """The file of N settled Gaussians; y is up and the face looks along z, as glTF wants both.

    Args:
        extras: of the asset: where it comes from, and what its use is bound to.
        beside: what the first buffer views hold, that no part of the standard refers to.
    """
    attributes = _attributes(gaussians)
    accessors: list[dict[str, Any]] = []
    for name, values in attributes.items():
        kind = KINDS[values.shape[1] if values.ndim > 1 else 1]
        number = len(beside) + len(accessors)
        accessor = {"bufferView": number, "componentType": FLOAT, "count": len(values), "type": kind}
        if name == "POSITION":  # glTF asks for its box
            accessor |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        accessors.append(accessor)
    columns = [values.astype("<f4").tobytes() for values in attributes.values()]
    views, chunks, offset = [], [], 0
    for number, data in enumerate([*(values.tobytes() for values in beside), *columns]):
        target = {"target": ARRAY_BUFFER} if number >= len(beside) else {}
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(data), **target})
        chunks.append(data + b"\0" * (-len(data) % 4))
        offset += len(chunks[-1])
    kernel = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display", "sortingMethod": "cameraDistance"}
    primitive = {
        "mode": POINTS,
        "attributes": {name: number for number, name in enumerate(attributes)},
        "extensions": {NAME: kernel},
    }
    document = {
        "asset": {"version": "2.0", "generator": "talkingavatar", "extras": {NAME: REVISION, **extras}},
        "extensionsUsed": [NAME],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }
    return _packed(json.dumps(document).encode(), b"".join(chunks))


def _attributes(gaussians: Gaussians) -> dict[str, ndarray]:
    """Float32 each; COLOR_0, for who does not know the extension, is of linear light."""
    shown = (0.5 + SH_C0 * gaussians.sh[:, 0]).clamp(0, 1)
    fallback = torch.cat([_linear(shown), gaussians.opacities[:, None]], 1)
    found = {
        "POSITION": gaussians.means,
        "COLOR_0": fallback,
        f"{NAME}:ROTATION": torch.cat([gaussians.quats[:, 1:], gaussians.quats[:, :1]], 1),
        f"{NAME}:SCALE": gaussians.scales,
        f"{NAME}:OPACITY": gaussians.opacities,
    }
    number = 0
    for degree in range(sh_degree(gaussians.sh.shape[1]) + 1):
        for order in range(2 * degree + 1):
            found[f"{NAME}:SH_DEGREE_{degree}_COEF_{order}"] = gaussians.sh[:, number]
            number += 1
    return {name: values.numpy() for name, values in found.items()}


def _linear(display: Tensor) -> Tensor:
    """Light of sRGB's display values (IEC 61966-2-1)."""
    return torch.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def _packed(document: bytes, binary: bytes) -> bytes:
    """Header, JSON padded by spaces, binary by zeros, to whole words."""
    document += b" " * (-len(document) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(document), 0x4E4F534A) + document + struct.pack("<II", len(binary), 0x004E4942)
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks) + len(binary)) + chunks + binary
