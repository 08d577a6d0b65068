"""A renderer of textured triangle meshes on the CPU: the camera that films the synthetic speaker.

The nearest face of every sample is found first (`raster`), with 2x2 samples per pixel, then those samples
are shaded (`shading`). Pictures have the same bytes for any number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, Int8, UInt8

from talkingavatar.data.speaker import raster, shading
from talkingavatar.runtime.threads import in_order

OVERSAMPLE = 2
SHADOW_SIZE = 512  # samples of the shadow map along an edge
SHADOW_REACH = 0.20  # metres behind what casts it at which a shadow would be gone, if it could go

Texture = UInt8[np.ndarray, "_ _ 4"]


@dataclass(frozen=True)
class Material:
    """How one part of the mesh looks.

    Args:
        texture: sRGB and coverage; edges may differ, powers of two filter best.
        wrap: how far diffuse light wraps around the form, per colour channel, 0 to 1.
        specular: strength of the highlight, 0 for none.
        gloss: the highlight's exponent is 2^gloss.
        strand: the highlight follows strands drawn along v (Kajiya and Kay, SIGGRAPH 1989).
        two_sided: seen from behind too.
        cutout: holes where the texture's coverage is low.
        overlay: the renderer's overlay is drawn on it.
        fine: shaded twice per pixel rather than once.
    """

    texture: Texture
    wrap: tuple[float, float, float] = (0.0, 0.0, 0.0)
    specular: float = 0.0
    gloss: int = 4
    strand: bool = False
    two_sided: bool = False
    cutout: bool = False
    overlay: bool = False
    fine: bool = False


@dataclass(frozen=True)
class Lights:
    """Directions point towards the light (of any length); colours are linear."""

    key: tuple[tuple[float, float, float], tuple[float, float, float]] = (
        (-0.55, 0.62, 0.75),
        (0.86, 0.82, 0.76),
    )
    fill: tuple[tuple[float, float, float], tuple[float, float, float]] = (
        (0.9, 0.15, 0.6),
        (0.20, 0.215, 0.235),
    )
    rim: tuple[tuple[float, float, float], tuple[float, float, float]] = (
        (0.7, 0.6, -0.75),
        (0.36, 0.36, 0.38),
    )
    sky: tuple[float, float, float] = (0.40, 0.41, 0.43)
    ground: tuple[float, float, float] = (0.23, 0.20, 0.185)

    def table(self) -> Float[np.ndarray, "5 2 3"]:
        rows = [self.key, self.fill, self.rim, ((0.0, 1.0, 0.0), self.sky), ((0.0, -1.0, 0.0), self.ground)]
        out = np.array(rows, np.float32)
        out[:, 0] /= np.linalg.norm(out[:, 0], axis=-1, keepdims=True)
        return out


@dataclass(frozen=True)
class Mesh:
    """Faces with texture coordinates and materials; vertices come with each frame."""

    faces: Int[np.ndarray, "F 3"]  # counter-clockwise from outside
    uvs: Float[np.ndarray, "F 3 2"]  # in the face's material's texture; v runs down
    material: Int[np.ndarray, " F"]
    vertex_count: int


def _decode_table() -> Float[np.ndarray, " 256"]:
    c = np.arange(256) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _encode_table() -> Float[np.ndarray, " entries"]:
    """Linear light to a display byte (0 to 255, not rounded), with a soft shoulder above 0.7."""
    x = 2 * ((np.arange(shading.ENCODE) + 0.5) / shading.ENCODE) ** 2
    x = np.where(x < 0.7, x, 0.7 + 0.3 * (1 - np.exp(-(x - 0.7) / 0.3)))
    return (255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)).astype(np.float32)


def _mipmaps(texture: Texture) -> list[Texture]:
    """The texture halved again and again in linear light."""
    decode = _decode_table()
    levels = [texture]
    for _ in range(raster.LEVELS - 1):
        last = levels[-1]
        h, w = max(1, last.shape[0] // 2), max(1, last.shape[1] // 2)
        rows = np.arange(2 * h).clip(max=last.shape[0] - 1)
        columns = np.arange(2 * w).clip(max=last.shape[1] - 1)
        block = last[rows][:, columns].reshape(h, 2, w, 2, 4)
        linear = decode[block[..., :3]].mean((1, 3))
        colour = np.searchsorted(0.5 * (decode[1:] + decode[:-1]), linear).astype(np.uint8)
        alpha = block[..., 3:].mean((1, 3)).round().astype(np.uint8)
        levels.append(np.concatenate([colour, alpha], -1))
    return levels


def pack(materials: Sequence[Material]) -> raster.Atlas:
    """Every texture and its mipmaps in one array."""
    chunks: list[Texture] = []
    table = np.zeros((len(materials), raster.LEVELS, 3), np.int64)
    start = 0
    textures = in_order(_mipmaps, [material.texture for material in materials])
    for m, levels in enumerate(textures):
        for level, texture in enumerate(levels):
            table[m, level] = start, texture.shape[1], texture.shape[0]
            chunks.append(texture.reshape(-1, 4))
            start += len(chunks[-1])
    return raster.Atlas(np.concatenate(chunks), table)


def incidence(faces: Int[np.ndarray, "F 3"], vertex_count: int) -> tuple[Int[np.ndarray, " V1"], Int[np.ndarray, " I"]]:
    """Faces around each vertex: `incident[first[v]:first[v + 1]]`."""
    flat = faces.ravel()
    order = np.argsort(flat, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=vertex_count))])
    return first.astype(np.int64), (order // 3).astype(np.int32)


@dataclass
class Renderer:
    """Draws one mesh with its materials; the vertices, the camera and the overlay's weights come per frame.

    Args:
        mesh, materials: what is drawn; `mesh.material` indexes `materials`.
        lights: the studio.
        focus, radius: the ball that the key light's shadow map covers, metres.
        overlay: relief over the materials that ask for it, 127 for a full ridge, -127 for a full crease.
    """

    mesh: Mesh
    materials: Sequence[Material]
    lights: Lights = field(default_factory=Lights)
    focus: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 1.0
    overlay: Int8[np.ndarray, "h w C"] = field(default_factory=lambda: np.zeros((2, 2, 1), np.int8))

    def __post_init__(self) -> None:
        mesh = self.mesh
        two_sided, cutout = (np.array([getattr(m, flag) for m in self.materials]) for flag in ("two_sided", "cutout"))
        self.atlas = pack(self.materials)
        holes = raster.find_holes(mesh.uvs, mesh.material, cutout, self.atlas)
        self.surface = raster.Surface(mesh.faces, mesh.uvs, mesh.material, two_sided, holes)
        self.casting = self.surface._replace(two_sided=np.ones_like(two_sided))
        self._kept = threading.local()
        self.first, self.incident = incidence(mesh.faces, mesh.vertex_count)
        rows = [
            [*m.wrap, m.specular, float(m.gloss), float(m.strand), float(m.overlay), float(m.fine)]
            for m in self.materials
        ]
        self.look = shading.Look(
            np.array(rows, np.float32), self.lights.table(), self.overlay, _decode_table(), _encode_table()
        )

    def visible_faces(
        self,
        vertices: Float[np.ndarray, "V 3"],
        K: Float[np.ndarray, "3 3"],
        viewmat: Float[np.ndarray, "4 4"],
        width: int,
        height: int,
    ) -> Int[np.ndarray, " n"]:
        """Faces that a camera sees, each once."""
        screen = raster.project(vertices, K, viewmat, float(OVERSAMPLE))
        ids = self._draw("camera", screen, self.surface, width * OVERSAMPLE, height * OVERSAMPLE).ids
        return np.unique(ids[ids >= 0])

    def _draw(
        self, view: str, screen: Float[np.ndarray, "V 3"], surface: raster.Surface, width: int, height: int
    ) -> raster.Canvas:
        """What is visible, on the canvas that this thread keeps for that view."""
        kept: dict[str, raster.Canvas] = vars(self._kept)
        key = f"{view} {width}x{height}"
        if key not in kept:
            kept[key] = raster.canvas(width, height)
        raster.draw(screen, surface, self.atlas, kept[key])
        return kept[key]

    def shadow(
        self, vertices: Float[np.ndarray, "V 3"], towards: Float[np.ndarray, "3"], size: int = SHADOW_SIZE
    ) -> shading.Shadow:
        """Depth of the mesh as a distant light in the direction `towards` sees it; until this thread draws another."""
        view = self._light_view(np.asarray(towards, np.float64), size)
        screen = (vertices @ view[:, :3].T.astype(np.float32) + view[:, 3].astype(np.float32)).astype(np.float32)
        nearness = self._draw("light", np.ascontiguousarray(screen), self.casting, size, size).nearness
        return shading.Shadow(nearness, view, 1.5 / size, 2 * self.radius / SHADOW_REACH, 0.85)

    def _light_view(self, towards: Float[np.ndarray, "3"], size: int) -> Float[np.ndarray, "3 4"]:
        """Samples across the ball around the focus; nearness runs from 1 (behind the ball) to 2."""
        forward = towards / np.linalg.norm(towards)
        right = np.cross([0.0, 1.0, 0.0] if abs(forward[1]) < 0.95 else [0.0, 0.0, 1.0], forward)
        right /= np.linalg.norm(right)
        down = -np.cross(forward, right)
        scale = 0.5 * size / self.radius
        rows = np.stack([right * scale, down * scale, forward * (0.5 / self.radius)])
        middle = np.array([0.5 * size, 0.5 * size, 1.5]) - rows @ np.asarray(self.focus)
        return np.concatenate([rows, middle[:, None]], 1)

    def render(
        self,
        vertices: Float[np.ndarray, "V 3"],
        K: Float[np.ndarray, "3 3"],
        viewmat: Float[np.ndarray, "4 4"],
        width: int,
        height: int,
        shade: Float[np.ndarray, " V"] | None = None,
        overlay: Float[np.ndarray, " C"] | None = None,
    ) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        """One picture on white and its matte.

        Args:
            vertices: world space, metres.
            K: intrinsics in pixels, pixel centres at +0.5.
            viewmat: world to camera, OpenCV axes.
            shade: how much ambient light reaches each vertex; all of it if not given.
            overlay: weight of each channel of the overlay; none if not given.
        """
        K, viewmat = np.asarray(K, np.float64), np.asarray(viewmat, np.float64)
        screen = raster.project(vertices, K, viewmat, float(OVERSAMPLE))
        ids, nearness, _ = self._draw("camera", screen, self.surface, width * OVERSAMPLE, height * OVERSAMPLE)
        moving = shading.Moving(
            vertices,
            screen,
            raster.vertex_normals(vertices, self.mesh.faces, self.first, self.incident),
            np.ones(len(vertices), np.float32) if shade is None else shade,
            np.zeros(self.overlay.shape[2], np.float32) if overlay is None else overlay,
            -viewmat[:3, :3].T @ viewmat[:3, 3],
        )
        shadow = self.shadow(vertices, self.look.lights[shading.KEY, 0])
        white = np.full(3, 255.0)
        return shading.shade(ids, nearness, OVERSAMPLE, self.surface, self.atlas, moving, self.look, shadow, white)


def compile_kernels() -> None:
    """Draw a triangle: what is compiled for it, or read from the disk, a picture need not wait for."""
    mesh = Mesh(np.arange(3, dtype=np.int32)[None], np.zeros((1, 3, 2), np.float32), np.zeros(1, np.int32), 3)
    renderer = Renderer(mesh, [Material(np.zeros((2, 2, 4), np.uint8))])
    renderer.render(np.eye(3, dtype=np.float32), np.eye(3), np.eye(4), 2, 2)
