"""What the page draws is what the rasteriser draws."""

import re

import numpy as np
import pytest
import torch

from talkingavatar.exporters.bake_file import VERSION
from talkingavatar.exporters.glb import glb
from talkingavatar.exporters.static import settled
from talkingavatar.splatting import conventions
from talkingavatar.splatting.render import rasterise
from tests.splatting.scenes import awkward, cameras, cloud
from tests.viewer.pages import ASSETS, camera_text, floats, renderer_page, said

SIZE = 128
BACKGROUND = [0.2, 0.5, 0.9]
LEAST = {"exact": 60.0, "shown": 50.0}  # dB; what is shown went through halves and bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder):
    with renderer_page(folder) as browser:
        browser.run(f"renderer.background = {BACKGROUND}; 1")
        browser.run(f"renderer.camera = {camera_text(cameras(1, SIZE, SIZE))}; 1")
        yield browser


def put(folder, page, gaussians, mode):
    """Let these be what the page shows."""
    (folder / "still.glb").write_bytes(glb(gaussians, {"talkingavatar": {"mode": mode}}))
    page.run("renderer.instances.forEach((instance) => renderer.remove(instance))")
    page.run("(async () => renderer.add(await Avatar.load('still.glb')).place)()")


def decibels(found, expected):
    return -10 * np.log10(np.square(found - expected).mean())


@pytest.mark.parametrize("mode", ["2dgs", "3dgs"])
@pytest.mark.parametrize("scene", [cloud(600, degree=3), cloud(600, degree=2), awkward()], ids=["3", "2", "awkward"])
def test_pixels_are_the_rasterisers(folder, page, scene, mode):
    scene = settled(scene)
    put(folder, page, scene, mode)
    drawn = rasterise(scene, cameras(1, SIZE, SIZE), torch.tensor(BACKGROUND), mode).rgb[0].numpy()
    exact = floats(page, "renderer.pixels({float: true})").reshape(SIZE, SIZE, 4)
    shown = floats(
        page,
        f"""(() => {{
          renderer.draw();
          const copy = new OffscreenCanvas({SIZE}, {SIZE}).getContext('2d');
          copy.drawImage(canvas, 0, 0);
          return new Float32Array(copy.getImageData(0, 0, {SIZE}, {SIZE}).data);
        }})()""",
    ).reshape(SIZE, SIZE, 4)
    assert (exact[..., 3] == 1).all()
    found = {"exact": decibels(exact[..., :3], drawn), "shown": decibels(shown[..., :3] / 255, drawn.clip(0, 1))}
    assert all(found[name] > least for name, least in LEAST.items()), found


def test_constants_are_the_rasterisers():
    text = (ASSETS / "js" / "shaders" / "draw.js").read_text()
    block = re.search(r"CONVENTIONS = \{(.*?)\}", text, re.DOTALL)
    assert block is not None
    own = {name: eval(value) for name, value in re.findall(r"(\w+): (.*?),\n", block[1])}
    assert own == {name: getattr(conventions, name) for name in own}
    assert len(own) == 8


def test_nothing_behind_is_nothing_in_the_picture(folder, page):
    put(folder, page, settled(cloud(50)), "3dgs")
    page.run("renderer.background = null; 1")
    pixels = floats(page, "renderer.pixels({float: true})").reshape(SIZE, SIZE, 4)
    page.run(f"renderer.background = {BACKGROUND}; 1")
    assert pixels[0, 0].tolist() == [0, 0, 0, 0]
    assert 0.1 < pixels[..., 3].max() < 1


def test_an_order_that_comes_later_is_the_same(folder, page):
    put(folder, page, settled(cloud(300)), "3dgs")
    expected = floats(page, "renderer.pixels({float: true})")
    drawn = page.run(
        f"""(async () => {{
          window.other = new Renderer(document.createElement('canvas'));
          other.background = {BACKGROUND};
          other.camera = {{...renderer.camera, viewmat: renderer.camera.viewmat.map((x, i) => i % 5 ? x : -x)}};
          other.add(await Avatar.load('still.glb'));
          other.draw();  // from behind, where the order is the other way round
          other.camera = renderer.camera;
          const late = other.draw() && other.pending;
          for (let i = 0; other.pending && i < 2000; i++) {{
            other.draw();
            await new Promise((done) => setTimeout(done, 2));
          }}
          return [late, other.draw(), other.draw(), other.stats.gaussians];
        }})()"""
    )
    assert drawn == [True, True, False, 300]  # the last draw had nothing new
    assert np.abs(floats(page, "other.pixels({float: true})") - expected).max() < 1e-5
    page.run("other.delete()")


def test_avatars_stand_beside_each_other(folder, page):
    """Two at places are what one is, of all their Gaussians: they hide each other by depth."""
    first, second = settled(cloud(100)), settled(cloud(150, seed=1))
    apart = torch.tensor([0.4, 0.1, 0.5])
    put(folder, page, first, "2dgs")
    (folder / "second.glb").write_bytes(glb(second, {"talkingavatar": {"mode": "2dgs"}}))
    page.run(f"(async () => renderer.add(await Avatar.load('second.glb'), {{place: {apart.tolist()}}}).place)()")
    both = [torch.cat(pair) for pair in zip(vars(first).values(), vars(second).values(), strict=True)]
    both[0] = torch.cat([first.means, second.means + apart])
    whole = type(first)(*both)
    drawn = rasterise(whole, cameras(1, SIZE, SIZE), torch.tensor(BACKGROUND), "2dgs").rgb[0].numpy()
    exact = floats(page, "renderer.pixels({float: true})").reshape(SIZE, SIZE, 4)
    assert decibels(exact[..., :3], drawn) > LEAST["exact"]
    page.run("renderer.remove(renderer.instances[1])")
    alone = rasterise(first, cameras(1, SIZE, SIZE), torch.tensor(BACKGROUND), "2dgs").rgb[0].numpy()
    exact = floats(page, "renderer.pixels({float: true})").reshape(SIZE, SIZE, 4)
    assert decibels(exact[..., :3], alone) > LEAST["exact"]


def test_an_avatar_that_goes_takes_its_memory_with_it(folder, page):
    put(folder, page, settled(cloud(30, degree=1)), "2dgs")
    counts = page.run(
        """(async () => {
          const avatar = await Avatar.load('still.glb');
          const kinds = ['Texture', 'Buffer', 'Framebuffer', 'Program', 'Shader', 'Query', 'Renderbuffer', 'Sync'];
          let alive = 0;
          for (const kind of kinds) {
            const made = kind === 'Sync' ? 'fenceSync' : `create${kind}`;
            for (const [name, change] of [[made, 1], [`delete${kind}`, -1]]) {
              const own = renderer.gl[name].bind(renderer.gl);
              renderer.gl[name] = (...given) => { alive += change; return own(...given); };
            }
          }
          const seen = [];
          for (let i = 0; i < 3; i++) {
            const instance = renderer.add(avatar);
            renderer.draw();
            const here = alive;
            renderer.remove(instance);
            renderer.draw();
            for (let tries = 0; renderer.timer.waits && tries < 1000; tries++) {
              await new Promise((done) => setTimeout(done, 5));
              renderer.timer.collect();
            }
            seen.push([here, alive]);
          }
          return seen;
        })()"""
    )
    (here, gone), *others = counts
    assert here > gone + 5
    assert others == [[here, gone]] * 2


def test_a_lost_gpu_comes_back(folder, page):
    put(folder, page, settled(cloud(100)), "2dgs")
    before = floats(page, "renderer.pixels({float: true})")
    seen = page.run(
        """(async () => {
          const extension = renderer.gl.getExtension('WEBGL_lose_context');
          const happened = (name) => new Promise((done) => canvas.addEventListener(name, done, {once: true}));
          const away = happened('webglcontextlost');
          extension.loseContext();
          await away;
          const drawn = renderer.draw();
          const lost = renderer.lost;
          renderer.add(await Avatar.load('still.glb'), {place: [9, 9, 9]});
          await new Promise((done) => setTimeout(done));
          const back = happened('webglcontextrestored');
          extension.restoreContext();
          await back;
          return [drawn, lost, renderer.lost, renderer.draw()];
        })()"""
    )
    assert seen == [False, True, False, True]
    assert floats(page, "renderer.pixels({float: true})").tolist() == before.tolist()


def test_what_is_no_avatar_is_said_in_one_sentence(folder, page):
    whole = glb(settled(cloud(20)), {})
    newer = glb(settled(cloud(20)), {"talkingavatar": {"format": "talkingavatar-baked", "version": 99}})
    wrong = {
        "text.glb": (b"<!doctype html> no such thing", "not a .glb file"),
        "short.glb": (whole[:-500], f"cut off, {len(whole) - 500} bytes of {len(whole)}"),
        "broken.glb": (whole.replace(b'"bufferView": 3', b'"bufferView": 9'), "damaged"),
        "syntax.glb": (whole.replace(b'"scene": 0', b'"scene", 0'), "damaged"),
        "newer.glb": (newer, f"version 99 of a baked avatar, this page reads up to {VERSION}: update talkingavatar"),
        "mesh.glb": (
            whole.replace(b"KHR_gaussian_splatting:ROTATION", b"KHR_gaussian_splatting:ROTATI0N"),
            "no Gaussians",
        ),
    }
    for name, (data, expected) in wrong.items():
        (folder / name).write_bytes(data)
        found = said(page, f"Avatar.load('{name}')")
        assert found.startswith(f"{name}: ") and expected in found, found
    found = said(page, "Avatar.load('http://127.0.0.1:9/avatar.glb')")
    assert "the server does not answer" in found
    page.errors.clear()  # the browser's own, of the address that does not answer


def test_a_browser_without_webgl2_is_said(page):
    found = said(page, "new Renderer({getContext: () => null})")
    assert found.startswith("This browser has no WebGL2")


def test_the_bench_tells_how_fast_it_draws(folder, page):
    put(folder, page, settled(cloud(100)), "2dgs")
    report = page.run(
        """(async () => {
          const {bench, sentence} = await import('./js/bench.js');
          const moved = [];
          const report = await bench(renderer, (number) => {
            moved.push(number);
            renderer.instances[0].setFrame({});
          }, 10);
          return {...report, moved, sentence: sentence(report)};
        })()"""
    )
    assert report["moved"] == list(range(30))  # those that warm up, too
    assert (report["gaussians"], report["size"]) == (100, f"{SIZE}x{SIZE}")
    assert all(report[name] > 0 for name in ("fps", "cpuMs", "gpuMs"))
    assert "SwiftShader" in report["renderer"]
    assert report["renderer"] in report["sentence"]
