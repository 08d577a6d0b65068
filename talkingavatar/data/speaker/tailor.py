"""Parts of one identity, cut from the full MakeHuman mesh: faces, places at rest, materials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from talkingavatar.body.full_mesh import FullMesh
from talkingavatar.data.speaker import appearance, hair, wardrobe
from talkingavatar.data.speaker.face import Face
from talkingavatar.data.speaker.identity import Identity
from talkingavatar.data.speaker.mesh_normals import averaging, smooth_normals
from talkingavatar.data.speaker.renderer import Material
from talkingavatar.data.speaker.texture import TexelMap, fractal, ramp, texel_map
from talkingavatar.runtime.threads import in_order

SKIN_WRAP = (0.55, 0.28, 0.20)
CLOTH_WRAP = (0.22, 0.22, 0.22)
_SHINE = 0.10  # of skin
_NOSE, _LIP_SEAM, _THUMB_TIP = (
    5054,
    474,
    9348,
)  # MakeHuman vertices that tell islands of the texture layout apart
_NECK_PIT, _CROTCH, _WRIST, _SHOULDER = 1522, 4374, 10350, 8278  # the person's left
_HEM, _WAIST = 0.050, 0.13  # metres above the crotch: sweater's hem, trousers' top


@dataclass(frozen=True)
class Part:
    """A piece of the figure before it is joined with the others."""

    rest: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "m 3"]
    uvs: Float[np.ndarray, "m 3 2"]
    sources: Int[np.ndarray, "n 2"]
    material: Material
    name: str
    least_light: float = 0.25  # ambient light that reaches its darkest corner


@dataclass(frozen=True)
class Layout:
    """Faces of the full mesh by piece, as rows of `mesh.faces`."""

    head: Int[np.ndarray, " a"]
    mouth: Int[np.ndarray, " b"]
    lids: Int[np.ndarray, " c"]  # sockets behind the lids
    body: Int[np.ndarray, " d"]  # torso, arms and legs
    hands: Int[np.ndarray, " e"]


def read_layout(full: FullMesh) -> Layout:
    """Islands of the texture layout, told apart by vertices they hold."""
    skin = np.flatnonzero(full.face_group == full.group_names.index("body"))
    uv_faces = full.faces_uv[skin]
    edges = np.concatenate([uv_faces[:, [0, 1]], uv_faces[:, [1, 2]]]).T
    size = len(full.uv)
    _, label = connected_components(coo_matrix((np.ones(edges.shape[1]), edges), shape=(size, size)))
    island = label[uv_faces[:, 0]]
    middle = full.vertices[full.faces[skin]].mean(1)

    def holding(vertex: int) -> Int[np.ndarray, " n"]:
        return island[(full.faces[skin] == vertex).any(1)]

    head = holding(_NOSE)[0]
    hands = [i for i in np.unique(island) if np.abs(middle[island == i, 0]).min() > 0.7]
    inner = [
        i
        for i in np.unique(island)
        if i != head and middle[island == i, 1].min() > middle[island == head, 1].min() - 0.02
    ]
    sockets = [i for i in inner if np.abs(middle[island == i, 0]).min() > 0.01]
    mouth = [i for i in inner if i not in sockets]
    feet_and_rest = ~np.isin(island, [head, *hands, *inner])
    return Layout(
        skin[island == head],
        skin[np.isin(island, mouth)],
        skin[np.isin(island, sockets)],
        skin[feet_and_rest],
        skin[np.isin(island, hands)],
    )


def _group(full: FullMesh, *names: str) -> Int[np.ndarray, " n"]:
    return np.flatnonzero(np.isin(full.face_group, [full.group_names.index(n) for n in names]))


class Tailor:
    """Cuts parts out of the full mesh as shaped for one identity."""

    def __init__(self, full: FullMesh, face: Face, who: Identity, shaped: Float[np.ndarray, "V 3"]) -> None:
        self.full, self.face, self.who, self.shaped = full, face, who, shaped
        self.layout = read_layout(full)
        body = full.faces[full.face_group == full.group_names.index("body")]
        self.normals = smooth_normals(full.vertices, body)
        self.shaped_normals = smooth_normals(shaped, body)

    @cached_property
    def head_texels(self) -> TexelMap:
        return self.texels(1024, self.layout.head)

    def uvs(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 3 2"]:
        """The faces' texture coordinates, stretched to fill a texture of their own; v runs down."""
        uv = self.full.uv[self.full.faces_uv[rows]].astype(np.float64)
        low, high = uv.reshape(-1, 2).min(0), uv.reshape(-1, 2).max(0)
        uv = (uv - low) / (high - low) * 0.98 + 0.01
        uv[..., 1] = 1 - uv[..., 1]
        return uv.astype(np.float32)

    def texels(
        self, size: int, rows: Int[np.ndarray, " n"], vertices: Float[np.ndarray, "V 3"] | None = None
    ) -> TexelMap:
        """Places of the texels on the template, or on other vertices of the full mesh."""
        faces = self.full.faces[rows].astype(np.int32)
        vertices = self.full.vertices if vertices is None else vertices
        normals = smooth_normals(vertices, faces).astype(np.float32)
        return texel_map(size, self.uvs(rows), faces, vertices.astype(np.float32), normals)

    def part(
        self,
        name: str,
        rows: Int[np.ndarray, " n"],
        material: Material,
        uvs: Float[np.ndarray, "n 3 2"] | None = None,
        offset: Float[np.ndarray, "V 3"] | None = None,
        least_light: float = 0.25,
    ) -> Part:
        """Faces of the full mesh as they are, their vertices moved by `offset`."""
        used, local = np.unique(self.full.faces[rows], return_inverse=True)
        rest = self.shaped[used] + (0 if offset is None else offset[used])
        return Part(
            rest,
            local.reshape(-1, 3).astype(np.int32),
            self.uvs(rows) if uvs is None else uvs,
            np.stack([used, used], -1),
            material,
            name,
            least_light,
        )

    def parts(self) -> list[Part]:
        """All of them, several at a time."""
        makers = (self.head, self.skin, self.eyes_and_mouth, self.clothes, self.hair)
        return [part for made in in_order(lambda make: make(), makers) for part in made]

    def head(self) -> list[Part]:
        paint = appearance.paint_head(self.head_texels, self.face, self.who)
        material = Material(paint, SKIN_WRAP, _SHINE, 4, overlay=True, fine=True)
        return [self.part("head", self.layout.head, material)]

    def skin(self) -> list[Part]:
        lay, who, face = self.layout, self.who, self.face
        parts = []
        middle = self.full.vertices[self.full.faces[lay.body]].mean(1)
        neck = (middle[:, 1] > self.full.vertices[_NECK_PIT, 1] - 0.14) & (np.abs(middle[:, 0]) < 0.15)
        bare = lay.body[neck | (np.abs(middle[:, 0]) > 0.66)]
        for name, rows, size in (("neck", bare, 512), ("hands", lay.hands, 768)):
            paint = appearance.paint_body(self.texels(size, rows), face, who)
            parts.append(self.part(name, rows, Material(paint, SKIN_WRAP, _SHINE * 0.7, 4)))
        wet = appearance.paint_mouth(self.texels(128, lay.mouth), face, who)
        socket = appearance.paint_mouth(self.texels(64, lay.lids), face, who)
        parts.append(self.part("mouth", lay.mouth, Material(wet, (0.2, 0.05, 0.05), 0.15, 5), least_light=0.10))
        parts.append(self.part("lids", lay.lids, Material(socket, SKIN_WRAP, 0.1, 4)))
        return parts

    def eyes_and_mouth(self) -> list[Part]:
        who, face, full = self.who, self.face, self.full
        eyes = _group(full, "helper-l-eye", "helper-r-eye")
        parts = [
            self.part(
                "eyes",
                eyes,
                Material(
                    appearance.paint_eye(self.texels(512, eyes), face, who),
                    (0.3, 0.2, 0.2),
                    0.9,
                    7,
                    fine=True,
                ),
            )
        ]
        for name in ("upper", "lower"):
            rows = _group(full, f"helper-{name}-teeth")
            paint = appearance.paint_teeth(self.texels(512, rows), face, who, name == "upper")
            parts.append(
                self.part(
                    f"{name} teeth",
                    rows,
                    Material(paint, (0.25, 0.2, 0.15), 0.35, 6, two_sided=True, fine=True),
                    least_light=1.6,
                )
            )
        rows = _group(full, "helper-tongue")
        paint = appearance.paint_tongue(self.texels(128, rows), face, who)
        parts.append(self.part("tongue", rows, Material(paint, (0.4, 0.15, 0.15), 0.25, 5), least_light=0.45))
        rows = _group(full, "helper-l-eyelashes-2", "helper-r-eyelashes-2")
        paint = appearance.paint_lash(self.texels(256, rows), face, who)
        parts.append(self.part("lashes", rows, Material(paint, two_sided=True, cutout=True)))
        return parts

    @cached_property
    def pit(self) -> Float[np.ndarray, "3"]:
        """The pit of the neck of the shaped body, at its skin."""
        return self.shaped[_NECK_PIT].astype(np.float64)

    def clothes(self) -> list[Part]:
        """Trousers and top from the fitted tights: unmuscled by smoothing, let out, folded.

        They are painted by position on the garment itself, so that stripes run level on every body.
        """
        full, who = self.full, self.who
        rows = _group(full, "helper-tights")
        height = self.shaped[full.faces[rows], 1]
        crotch = float(self.shaped[_CROTCH, 1])
        trousers = rows[(height.min(1) < crotch + _WAIST) & (height.max(1) > crotch - 0.6)]
        top = rows[height.max(1) > crotch + _HEM]
        drape = self._drape(rows, 0.003, 4, 0.0)
        paint = wardrobe.paint_trousers(self.texels(512, trousers, self.shaped + drape), who, crotch)
        legs = self.part("trousers", trousers, Material(paint, CLOTH_WRAP), offset=drape)
        drape = self._drape(rows, who.clothes.loose, 14, who.clothes.hang)
        wrist = np.unique(full.faces[self.layout.body])
        wrist = self.shaped[wrist[np.abs(self.shaped[wrist, 0] - self.shaped[_WRIST, 0]) < 0.03]].mean(0)
        fit = wardrobe.Fit(self.pit, wrist.astype(float), float(self.shaped[_SHOULDER, 0]), crotch + _HEM)
        size = 2048 if who.clothes.pattern == "pinstripe" else 1024
        paint = wardrobe.paint_top(self.texels(size, top, self.shaped + drape), fit, who)
        cloth = subdivide(self.part("top", top, Material(paint, CLOTH_WRAP, two_sided=True, cutout=True), offset=drape))
        return [legs, _fold(cloth, who.seed)]

    def _drape(self, rows: Int[np.ndarray, " n"], gap: float, rounds: int, hang: float) -> Float[np.ndarray, "V 3"]:
        """Offsets that smooth the tights without ever coming nearer to the skin than `gap`."""
        faces = self.full.faces[rows]
        normals = smooth_normals(self.shaped, faces)
        average = averaging(faces, len(self.shaped))
        v = self.shaped.astype(np.float64)
        for _ in range(rounds):  # Taubin 1995: smoothing without shrinking
            v = v + 0.55 * (average @ v - v)
            v = v - 0.57 * (average @ v - v)
        hem = ramp(0.45, 0.10, self.full.vertices[:, 1]) * ramp(0.3, 0.2, np.abs(self.full.vertices[:, 0]))
        gap_here = gap * (1 + 0.8 * hem)
        outward = ((v - self.shaped) * normals).sum(-1)
        v += np.maximum(0, gap_here - outward)[:, None] * normals
        v = self._hang(v, hang)
        # The collar lies close.
        rise = self.shaped[:, 1:2] - self.pit[1]
        neck = ramp(-0.012, 0.012, rise) * ramp(0.125, 0.085, np.abs(self.shaped[:, :1]))
        return (v - self.shaped) * (1 - neck) + 0.5 * gap * neck * normals

    def _hang(self, v: Float[np.ndarray, "V 3"], share: float) -> Float[np.ndarray, "V 3"]:
        """Cloth below the chest falls from the widest place above it, by a share; sleeves stay."""
        axis = np.array([0.0, 0.0, self.pit[2] - 0.09])
        turn = np.arctan2(v[:, 0], v[:, 2] - axis[2])
        radius = np.hypot(v[:, 0], v[:, 2] - axis[2])
        top, hem = self.pit[1] - 0.13, float(self.shaped[_CROTCH, 1])
        rows = np.unique(self.full.faces[_group(self.full, "helper-tights")])
        torso = rows[(v[rows, 1] < top + 0.02) & (v[rows, 1] > hem - 0.02) & (np.abs(v[rows, 0]) < 0.26)]
        heights, turns = np.linspace(top, hem, 24), np.linspace(-np.pi, np.pi, 49)
        # The outline of the torso on a grid, each node from the vertices around it.
        near = cKDTree(np.stack([v[torso, 1] / 0.03, turn[torso] / 0.2], -1))
        grid = np.stack(np.meshgrid(heights / 0.03, turns / 0.2, indexing="ij"), -1)
        outline = radius[torso][near.query(grid, k=4)[1]].mean(-1)
        fallen = np.maximum.accumulate(outline - 0.02 * (top - heights[:, None]), axis=0)
        fallen = uniform_filter(fallen - outline, (3, 5), mode=("nearest", "wrap"))
        extra = np.zeros(len(v))
        where = np.stack([-v[torso, 1], turn[torso]], -1)
        extra[torso] = RegularGridInterpolator((-heights, turns), fallen, bounds_error=False, fill_value=None)(where)
        grow = 1 + share * np.maximum(extra, 0) / np.maximum(radius, 0.02)
        return np.stack([v[:, 0] * grow, v[:, 1], axis[2] + (v[:, 2] - axis[2]) * grow], -1)

    def hair(self) -> list[Part]:
        full, who, face = self.full, self.who, self.face
        head = full.faces[self.layout.head].astype(np.int32)
        scalp = hair.Scalp(self.shaped.astype(float), full.vertices.astype(float), self.shaped_normals, head)
        parts = []
        if who.hair.style in ("bob", "long"):
            grown = hair.grow_ribbons(scalp, face, who)
            strands = Material(
                hair.paint_strands(who.hair, who.seed),
                (0.25, 0.22, 0.2),
                0.55,
                5,
                strand=True,
                two_sided=True,
                cutout=True,
            )
            parts.append(
                Part(grown.vertices, grown.faces, grown.uvs, np.stack([grown.source] * 2, -1), strands, "hair")
            )
        length = hair.shell_lengths(scalp, face, who)
        hairy = self.layout.head[(length[head] > 0.0004).any(1)]
        if len(hairy):
            where, uvs = self.texels(512, self.layout.head), self.uvs(self.layout.head)
            uvs = uvs[np.isin(self.layout.head, hairy)]
            for layer in range(hair.SHELLS):
                height = (layer + 1) / hair.SHELLS
                out = self.shaped_normals * (length * height)[:, None]
                out[:, 1] -= 0.35 * height * length * (length < 0.014)
                fur = Material(hair.paint_shell(where, face, who, layer), (0.3, 0.25, 0.22), cutout=True)
                parts.append(self.part(f"shell {layer}", hairy, fur, uvs, out))
        return parts


def subdivide(part: Part) -> Part:
    """Four faces of each one; new vertices are midpoints and move like the mean of both ends."""
    edges = np.sort(part.faces[:, [[0, 1], [1, 2], [2, 0]]], -1).reshape(-1, 2)
    unique, inverse = np.unique(edges, axis=0, return_inverse=True)
    a, b, c = part.faces.T
    ab, bc, ca = (len(part.rest) + inverse.reshape(-1, 3)).T
    faces = np.stack([np.stack(t, -1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))], 1)
    u = part.uvs
    uab, ubc, uca = (0.5 * (u[:, i] + u[:, j]) for i, j in ((0, 1), (1, 2), (2, 0)))
    corners = ((u[:, 0], uab, uca), (uab, u[:, 1], ubc), (uca, ubc, u[:, 2]), (uab, ubc, uca))
    uvs = np.stack([np.stack(t, 1) for t in corners], 1)
    return Part(
        np.concatenate([part.rest, part.rest[unique].mean(1)]),
        faces.reshape(-1, 3).astype(np.int32),
        uvs.reshape(-1, 3, 2).astype(np.float32),
        np.concatenate([part.sources, part.sources[unique, 0]]),
        part.material,
        part.name,
    )


def _fold(part: Part, seed: int) -> Part:
    """Smooth the midpoints in, then push cloth out and in along slanted folds."""
    average = averaging(part.faces, len(part.rest))
    v = part.rest + 0.5 * (average @ part.rest - part.rest)
    normals = smooth_normals(v, part.faces)
    slant = (v * [1.0, 0.45, 1.0] + np.array([0, 0, 0]) + 0.35 * v[:, [1, 0, 1]] * [1, 0, 0]).astype(np.float32)
    depth = 0.0035 * np.abs(fractal(slant, 0.055, 2, seed + 7))
    return Part(v + depth[:, None] * normals, part.faces, part.uvs, part.sources, part.material, part.name)
