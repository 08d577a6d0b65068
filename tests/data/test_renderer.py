"""The mesh renderer against closed forms on a few triangles."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from talkingavatar.data.speaker import raster, shading
from talkingavatar.data.speaker.renderer import OVERSAMPLE, Lights, Material, Mesh, Renderer, _decode_table

SIZE = 64
K = np.array([[64.0, 0, 32], [0, 64, 32], [0, 0, 1]])
VIEW = np.diag([1.0, -1, -1, 1])  # at the origin, looking along -z of a world whose y axis points up
BLACK, AHEAD = (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)
# Constant light, so that a picture is its texture.
FLAT = Lights(key=(AHEAD, BLACK), fill=(AHEAD, BLACK), rim=(AHEAD, BLACK), sky=(0.5,) * 3, ground=(0.5,) * 3)


def plain(r: int, g: int, b: int, a: int = 255, size: int = 4) -> np.ndarray:
    return np.broadcast_to(np.array([r, g, b, a], np.uint8), (size, size, 4)).copy()


def build(corners, uvs, materials, which=None, lights=FLAT, **kwargs) -> tuple[Renderer, np.ndarray]:
    """A renderer of separate triangles given as (F, 3, 3)."""
    vertices = np.asarray(corners, np.float32).reshape(-1, 3)
    faces = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
    which = np.zeros(len(faces)) if which is None else which
    mesh = Mesh(faces, np.asarray(uvs, np.float32), np.asarray(which, np.int32), len(vertices))
    return Renderer(mesh, materials, lights, focus=(0.0, 0.0, -2.0), radius=2.0, **kwargs), vertices


def triangle(z: float, size: float = 1.0) -> list:
    return [[-size, -size, -z], [size, -size, -z], [-size, size, -z]]


UV = [[0, 1], [1, 1], [0, 0]]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nearest_face_wins_in_any_order(order):
    corners = np.array([triangle(2.0, 0.4), triangle(3.0, 3.0)])[list(order)]
    materials = [Material(plain(255, 0, 0)), Material(plain(0, 0, 255))]
    renderer, vertices = build(corners, [UV, UV], materials, np.array([0, 1])[list(order)])
    rgb, _ = renderer.render(vertices, K, VIEW, SIZE, SIZE)
    assert rgb[38, 24, 0] > 100 and rgb[38, 24, 2] == 0  # inside the near triangle
    assert rgb[50, 10, 2] > 100 and rgb[50, 10, 0] == 0  # only the far one


def test_interpolation_is_perspective_correct():
    """On a plane tilted in depth the texture coordinate follows the ray's intersection with the plane."""
    corners = [[[-1, -1, -2], [1, -1, -4], [1, 1, -4]], [[-1, -1, -2], [1, 1, -4], [-1, 1, -2]]]
    uvs = [[[0, 1], [1, 1], [1, 0]], [[0, 1], [1, 0], [0, 0]]]
    renderer, vertices = build(corners, uvs, [Material(plain(0, 0, 0))])
    screen = raster.project(vertices, K, VIEW, 1.0)
    ids, _ = raster.visible(screen, renderer.surface, renderer.atlas, SIZE, SIZE)
    for x in (4, 16, 28, 44):
        assert ids[32, x] >= 0
        face = renderer.mesh.faces[ids[32, x]]
        w0, w1, w2, _ = shading.corners(*screen[face].ravel().astype(float), x + 0.5, 32.5)
        u = np.dot([w0, w1, w2], renderer.mesh.uvs[ids[32, x], :, 0])
        slope = (x + 0.5 - 32) / 64  # the ray is (slope, ., -1) t; the plane is z = -3 - x
        depth = 3 / (1 - slope)
        assert u == pytest.approx((slope * depth + 1) / 2, abs=1e-5)
        assert np.dot([w0, w1, w2], vertices[face, 2]) == pytest.approx(-depth, abs=1e-5)


def test_matte_covers_the_triangle():
    corners = [[-0.9, -0.8, -2.0], [0.7, -0.7, -2.0], [-0.2, 0.9, -2.0]]
    renderer, vertices = build([corners], [UV], [Material(plain(9, 9, 9))])
    _, matte = renderer.render(vertices, K, VIEW, SIZE, SIZE)
    # Two metres away through a focal length of 64 pixels, a metre is 32 pixels wide.
    area = 0.5 * np.linalg.det(np.array(corners)[1:, :2] - np.array(corners)[0, :2])
    assert matte.sum() / 255 == pytest.approx(area * 32**2, rel=0.01)
    assert set(np.unique(matte)) == {0, 64, 128, 191, 255}


def test_empty_is_white():
    renderer, vertices = build([triangle(2.0, 0.2)], [UV], [Material(plain(9, 9, 9))])
    rgb, matte = renderer.render(vertices, K, VIEW, SIZE, SIZE)
    assert (rgb[matte == 0] == 255).all() and (matte == 0).any()


def test_faces_seen_from_behind_are_dropped_unless_two_sided():
    back = [triangle(2.0)[::-1]]
    for two_sided in (False, True):
        renderer, vertices = build(back, [UV], [Material(plain(9, 9, 9), two_sided=two_sided)])
        _, matte = renderer.render(vertices, K, VIEW, SIZE, SIZE)
        assert (matte > 0).any() == two_sided


def test_texture_lookup_is_bilinear_in_linear_light():
    texture = plain(0, 0, 0, size=2)
    texture[:, 1, :3] = 255
    atlas = Renderer(
        Mesh(np.zeros((1, 3), np.int32), np.zeros((1, 3, 2), np.float32), np.zeros(1, np.int32), 3),
        [Material(texture)],
    ).atlas
    decode = _decode_table()
    for u, expected in ((0.25, 0.0), (0.5, 0.5), (0.625, 0.75), (0.75, 1.0), (1.0, 1.0)):
        assert shading.texture(*atlas, decode, 0, u, 0.5, 0.0)[0] == pytest.approx(expected, abs=1e-6)
    # The next level is one texel: the mean of the light, not of the bytes.
    assert shading.texture(*atlas, decode, 0, 0.3, 0.5, 1.0)[0] == pytest.approx(0.5, abs=0.005)


def test_coverage_of_a_cutout_becomes_grey_in_the_matte():
    renderer, vertices = build([triangle(2.0)], [UV], [Material(plain(9, 9, 9, 128), cutout=True)])
    _, matte = renderer.render(vertices, K, VIEW, SIZE, SIZE)
    assert matte[50, 10] == 128


def test_key_light_casts_a_shadow():
    wall = [[[-3, -3, -3], [3, -3, -3], [-3, 3, -3]], [[3, -3, -3], [3, 3, -3], [-3, 3, -3]]]
    blocker = [[[0.25, -0.3, -2.96], [0.55, -0.3, -2.96], [0.4, 0.4, -2.96]]]
    light = Lights(key=((1.0, 0.0, 1.0), (0.8, 0.8, 0.8)), fill=(AHEAD, BLACK), rim=(AHEAD, BLACK))
    uvs = [UV] * 3
    renderer, vertices = build(wall + blocker, uvs, [Material(plain(200, 200, 200))], lights=light)
    rgb, _ = renderer.render(vertices, K, VIEW, SIZE, SIZE)
    # 4 cm behind the blocker and lit at 45 degrees: the shadow lies 4 cm to the left, a pixel beside it.
    shadowed, open_wall = 38, int(32 + 1.2 / 3 * 64)
    assert rgb[32, shadowed, 0] < 0.93 * rgb[32, open_wall, 0]


def test_overlay_darkens_by_its_weight():
    material = Material(plain(200, 180, 160), overlay=True)
    overlay = np.full((4, 4, 2), 0, np.int8)
    overlay[..., 1] = -127
    renderer, vertices = build([triangle(2.0)], [UV], [material], overlay=overlay)

    def green(weight: float) -> int:
        weights = np.array([1.0, weight], np.float32)
        return int(renderer.render(vertices, K, VIEW, SIZE, SIZE, overlay=weights)[0][50, 10, 1])

    assert green(0.0) > green(0.3) > green(0.6)


def random_triangles(cutout: bool = True) -> tuple[Renderer, np.ndarray]:
    rng = np.random.default_rng(0)
    corners = rng.uniform(-1, 1, (300, 3, 3)) * [1.2, 1.2, 0.5] + [0, 0, -2.5]
    texture = rng.integers(0, 255, (32, 32, 4), np.uint8)
    material = Material(texture, (0.5, 0.3, 0.2), 0.3, 4, two_sided=True, cutout=cutout)
    return build(corners, rng.random((300, 3, 2)), [material], lights=Lights())


@pytest.mark.parametrize("cutout", [False, True])
def test_every_sample_shows_the_nearest_face(cutout):
    """Against each face drawn alone: hidden faces are left out unseen."""
    renderer, vertices = random_triangles(cutout)
    screen = raster.project(vertices, K, VIEW, 1.0)
    ids, nearness = raster.visible(screen, renderer.surface, renderer.atlas, SIZE, SIZE)
    best, nearest = np.full((SIZE, SIZE), -1, np.int32), np.zeros((SIZE, SIZE), np.float32)
    for face in range(len(renderer.mesh.faces)):
        holes = np.where(np.arange(len(renderer.mesh.faces)) == face, renderer.surface.holes, raster.EMPTY)
        alone = renderer.surface._replace(holes=holes.astype(np.uint8))
        _, near = raster.visible(screen, alone, renderer.atlas, SIZE, SIZE)
        best, nearest = np.where(near > nearest, face, best), np.maximum(near, nearest)
    assert (ids == best).all() and (nearness == nearest).all()
    assert len(np.unique(ids)) > 20


def test_every_face_has_what_compiled_code_reads_of_it():
    """It looks at no bounds: whatever lies behind a shorter array would hide faces now and then."""
    renderer, _ = random_triangles(cutout=True)
    for surface, atlas in ((renderer.surface, renderer.atlas), raster.untextured(renderer.mesh.faces)):
        assert {len(each) for each in (surface.uvs, surface.material, surface.holes)} == {len(surface.faces)}
        assert surface.material.max() < min(len(surface.two_sided), len(atlas.levels))
        assert surface.holes.dtype == np.uint8


def test_holes_of_a_texture():
    texture = plain(9, 9, 9, size=8)
    texture[:, 4:, 3] = 0
    corners = [triangle(2.0)] * 3
    uvs = np.array([[[x, 0.2], [x + 0.1, 0.2], [x, 0.8]] for x in (0.05, 0.45, 0.85)])
    renderer, _ = build(corners, uvs, [Material(texture, cutout=True)])
    assert renderer.surface.holes.tolist() == [raster.SOLID, raster.HOLED, raster.EMPTY]
    renderer, _ = build(corners, uvs, [Material(texture)])
    assert renderer.surface.holes.tolist() == [raster.SOLID] * 3


def test_same_bytes_from_several_threads_at_once():
    renderer, vertices = random_triangles()
    with ThreadPoolExecutor(3) as pool:
        pictures = list(pool.map(lambda _: renderer.render(vertices, K, VIEW, SIZE, SIZE), range(6)))
    alone = renderer.render(vertices, K, VIEW, SIZE, SIZE)
    for picture in pictures:
        assert all(one.tobytes() == two.tobytes() for one, two in zip(picture, alone, strict=True))
    assert OVERSAMPLE == 2
