"""A page without a server: opened from a folder it shows, plays and turns the avatar."""

import re

import numpy as np
import pytest
import torch

from talkingavatar.exporters.glb import glb
from talkingavatar.exporters.static import settled
from talkingavatar.geometry.spherical_harmonics import rgb_to_sh
from talkingavatar.viewer.opened import wav
from talkingavatar.viewer.shown import Shown
from talkingavatar.viewer.whole import whole_page
from tests.browser import Browser, executable
from tests.splatting.scenes import cloud

FRAMES, FPS = 30, 25.0


@pytest.fixture(scope="module")
def text():
    """The page of a green cloud that goes a metre to the right."""
    gaussians = settled(cloud(40))
    gaussians.sh[:, 0] = rgb_to_sh(torch.tensor([0.1, 0.8, 0.2]))
    motion = np.zeros((FRAMES, 3), np.float32)
    motion[:, 0] = np.linspace(0, 1, FRAMES)
    sound = wav(0.1 * np.sin(np.arange(16000) * 0.1), 16000)
    return whole_page(Shown("green & <cloud>", glb(gaussians, {}), FPS, motion, [(20, 30)], sound))


@pytest.fixture(scope="module")
def browser(text, tmp_path_factory):
    if executable() is None:
        pytest.skip("no Chromium on the PATH")
    folder = tmp_path_factory.mktemp("whole")
    (folder / "avatar.html").write_text(text)
    with Browser(folder / "profile", 900, 600, webgl=True) as browser:
        browser.address = (folder / "avatar.html").as_uri()
        browser.open(browser.address)
        wait(browser, "globalThis.app?.performers?.length")
        yield browser
        assert browser.errors == []


def wait(browser, condition):
    browser.run(
        f"""(async () => {{
          for (let tries = 0; tries < 500 && !({condition}); tries++) await new Promise((done) => setTimeout(done, 20));
        }})()"""
    )


def middle(browser) -> tuple[float, int]:
    """Across the canvas, where what is green is, in pixels; and how many are."""
    return tuple(
        browser.run(
            """(async () => {
              const {renderer} = app.stage;
              const {width} = renderer.camera;
              const pixels = await renderer.pixels();
              let [sum, count] = [0, 0];
              for (let i = 0; i < pixels.length; i += 4) {
                if (pixels[i + 1] - pixels[i] > 50) { sum += (i / 4) % width; count++; }
              }
              return [sum / count, count];
            })()"""
        )
    )


def test_it_asks_nobody_for_anything(text):
    without_data = re.sub(r"[\w+/=]{200,}", "", text)
    assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"]", without_data)
    assert "http" not in without_data.replace("http://www.w3.org/2000/svg", "")


def test_it_shows_the_avatar(browser):
    assert browser.run("document.getElementById('message').textContent") == ""
    assert browser.run("document.title") == "green & <cloud>"
    assert middle(browser)[1] > 500


def after(browser, script):
    """Where the avatar is, once the page has drawn what a script has changed."""
    browser.run(
        f"(async () => {{ {script}; for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame); }})()"
    )
    return middle(browser)[0]


def test_it_moves_with_time(browser):
    start = after(browser, "app.clock.time = 0; app.dirty = true")
    assert after(browser, "app.clock.time = 1; app.dirty = true") > start + 50


def test_it_plays_its_sound(browser):
    browser.run("(async () => { app.clock.time = 0; await app.clock.play(); })()")
    browser.run("new Promise((done) => setTimeout(done, 400))")
    assert browser.run("app.clock.buffer.duration") == pytest.approx(1.0)
    assert 0.1 < browser.run("app.clock.time") < 1.2
    browser.run("app.clock.pause()")


def test_it_turns_by_hand(browser):
    start = after(browser, "app.clock.time = 1; app.dirty = true")
    turned = after(browser, "canvas.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', shiftKey: true}))")
    assert abs(turned - start) > 3


def test_a_lost_gpu_is_told_until_it_is_back(browser):
    start = after(browser, "app.clock.time = 1; app.dirty = true")
    lose = "window.taken = app.stage.renderer.gl.getExtension('WEBGL_lose_context'); taken.loseContext()"
    event = "await new Promise((done) => canvas.addEventListener('webglcontext{}', done, {{once: true}}))"
    browser.run(f"(async () => {{ {lose}; {event.format('lost')}; }})()")
    assert browser.run("app.message.textContent").startswith("The browser has taken the GPU away")
    browser.run(f"(async () => {{ setTimeout(() => taken.restoreContext()); {event.format('restored')}; }})()")
    assert browser.run("app.message.textContent") == ""
    assert after(browser, "") == pytest.approx(start, abs=1)


def test_it_tells_how_fast_it_draws(browser):
    browser.open(f"{browser.address}?bench=3")
    wait(browser, "globalThis.report")
    assert browser.run("report.frames") == 3
    assert re.search(r"frames/s .* 3 frames of .*, 40 Gaussians", browser.run("app.message.textContent"))
