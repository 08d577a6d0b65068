"""What the page draws is what the rasteriser draws."""

import re

import numpy as np
import pytest
import torch

from talkingavatar.exporters.glb import glb
from talkingavatar.exporters.static import settled
from talkingavatar.splatting import conventions
from talkingavatar.splatting.render import rasterise
from tests.browser import Browser, executable
from tests.splatting.scenes import awkward, cameras, cloud
from tests.viewer.pages import ASSETS, camera_text, floats, serving

SIZE = 128
BACKGROUND = [0.2, 0.5, 0.9]
LEAST = {"exact": 60.0, "shown": 50.0}  # dB; what is shown went through halves and bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder):
    """A page with a renderer that sorts in step."""
    if executable() is None:
        pytest.skip("no Chromium on the PATH")
    with serving(folder) as address, Browser(folder / "profile", webgl=True) as browser:
        browser.open(f"{address}/page.html")
        browser.run(f"window.renderer = new Renderer(canvas, {{sync: true}}); renderer.background = {BACKGROUND}; 1")
        browser.run(f"renderer.camera = {camera_text(cameras(1, SIZE, SIZE))}; 1")
        yield browser
        assert browser.errors == []


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
