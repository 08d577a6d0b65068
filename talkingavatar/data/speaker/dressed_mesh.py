"""One identity as a mesh: skin, eyes, mouth, lashes, clothes and hair, each with its material.

Every vertex of the figure rests somewhere (T-pose) and moves like one or two vertices of the full
MakeHuman mesh, its sources: it takes the mean of their skinning weights and of their expression offsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from talkingavatar.body.full_mesh import FullMesh
from talkingavatar.data.speaker import face as regions
from talkingavatar.data.speaker.face import Face
from talkingavatar.data.speaker.identity import Identity
from talkingavatar.data.speaker.renderer import Material, Mesh
from talkingavatar.data.speaker.tailor import Tailor
from talkingavatar.data.speaker.texture import TexelMap, ball, mirrored, ramp

_NIPPLE = 8437  # MakeHuman vertex, the person's left


@dataclass(frozen=True)
class Figure:
    """All parts in one mesh."""

    mesh: Mesh
    materials: list[Material]
    rest: Float[np.ndarray, "n 3"]
    sources: Int[np.ndarray, "n 2"]
    shade_floor: Float[np.ndarray, " n"]  # least ambient light of each vertex
    part_names: list[str]  # in the order of `materials`
    vertex_part: Int[np.ndarray, " n"]
    head_texels: TexelMap


def build_figure(full: FullMesh, face: Face, who: Identity, shaped: Float[np.ndarray, "V 3"]) -> Figure:
    """Every part of one identity, joined."""
    tailor = Tailor(full, face, who, shaped)
    parts = tailor.parts()
    starts = np.cumsum([0] + [len(p.rest) for p in parts])
    mesh = Mesh(
        np.concatenate([p.faces + start for p, start in zip(parts, starts, strict=False)]).astype(np.int32),
        np.concatenate([p.uvs for p in parts]),
        np.concatenate([np.full(len(p.faces), i, np.int32) for i, p in enumerate(parts)]),
        int(starts[-1]),
    )
    floor = np.concatenate([np.full(len(p.rest), p.least_light, np.float32) for p in parts])
    return Figure(
        mesh,
        [p.material for p in parts],
        np.concatenate([p.rest for p in parts]),
        np.concatenate([p.sources for p in parts]),
        floor,
        [p.name for p in parts],
        np.repeat(np.arange(len(parts)), [len(p.rest) for p in parts]),
        tailor.head_texels,
    )


def sculpt(full: FullMesh, face: Face, who: Identity) -> Float[np.ndarray, "V 3"]:
    """What sets this face apart beyond the shape basis: offsets of the full mesh, metres."""
    p = full.vertices.astype(np.float64)
    q, side = mirrored(p), np.sign(p[:, :1]) * [[1.0, 0, 0]]
    amount = who.sculpt.get
    jaw = ball(q, face.at("chin", 0.052, 0.030, -0.050), (0.030, 0.034, 0.045))
    out = 0.006 * amount("jaw", 0.0) * jaw[:, None] * side
    head = ramp(face["corner"][1] - 0.004, face["chin"][1], q[:, 1]) * ramp(-0.02, 0.03, q[:, 2] - face["ear"][2])
    chin = head * ramp(face["chin"][1] - 0.05, face["chin"][1] - 0.01, q[:, 1])
    out[:, 1] += 0.008 * amount("chin", 0.0) * chin
    nose = ball(q, face["wing"], (0.012, 0.014, 0.02))
    out += 0.003 * amount("nose", 0.0) * nose[:, None] * side
    # Eyes grow as a whole, lids and lashes with them.
    centred = q - face.eye
    near = ramp(0.036, 0.017, np.linalg.norm(centred * [1, 1, 0.6], axis=-1))
    out += 0.12 * amount("eyes", 0.0) * near[:, None] * centred * (side + np.array([0, 1, 1]))
    chest = ball(q, full.vertices[_NIPPLE].astype(float), (0.075, 0.060, 0.080))
    out[:, 2] += 0.018 * amount("chest", 0.0) * chest
    lips = regions.lips(face, q)
    away = np.sign(q[:, 1] - face["seam"][1])
    out += 0.0014 * amount("lips", 0.0) * lips[:, None] * np.stack([0 * away, 0.6 * away, 1 + 0 * away], -1)
    return out
